"""A home that speaks, for all tests that only look at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aela.storage import Home
from tests.live.speaking import teach


@pytest.fixture(scope="session")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, dict[str, str]]:
    """A home that knows a disc and a box, and the keys of their videos. Not to be changed."""
    folder: Path = tmp_path_factory.mktemp("speaking")
    home = Home.at(folder)
    return home, teach(home)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in a live session: threads that look and load are not to wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
