"""Media and homes that several tests share."""

from pathlib import Path

import dagster as dg
import pytest

from aela.nursery import NurserySettings, make_nursery
from aela.storage import Home

SMALL = NurserySettings(
    things=2,
    train_seconds=8,
    test_segment_seconds=5,
    new_speaker_test=False,
    width=320,
    height=240,
    fps=10,
)


@pytest.fixture(autouse=True)
def _no_home_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never touch the data folder of the person who runs them."""
    for name in ("HOME", "PRESET", "EFFORT", "DEVICE", "CACHE", "CACHE_GB"):
        monkeypatch.delenv(f"AELA_{name}", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, which `Home.at()` finds too."""
    monkeypatch.setenv("AELA_HOME", str(tmp_path / "home"))
    return Home.at()


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two things in four short training videos, one test video and labels.json."""
    folder = tmp_path_factory.mktemp("nursery")
    make_nursery(folder, SMALL)
    return folder
