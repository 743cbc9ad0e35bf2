"""A home that speaks, for all tests that only look at it."""

from pathlib import Path

import pytest

from aela.storage import Home
from tests.live.speaking import teach


@pytest.fixture(scope="session")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, dict[str, str]]:
    """A home that knows a disc and a box, and the keys of their videos. Not to be changed."""
    folder: Path = tmp_path_factory.mktemp("speaking")
    home = Home.at(folder)
    return home, teach(home)
