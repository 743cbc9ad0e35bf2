"""Two things are shown to the page and named; shown one again, it says the word it was taught."""

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.live.pages import free_port

from aela.memory import store
from aela.storage import Home
from tests.live.browser import LET_IN, MISSING, Browser, chromium, devices, pictures

pytestmark = pytest.mark.skipif(chromium() is None, reason=MISSING)

TAUGHT = ("acorn", "spoon")
LEARNED_S = 1500.0  # at most, on a machine that is busy with much else


@pytest.fixture
def link(home: Home, tmp_path: Path) -> Iterator[str]:
    """`aela live` as a person starts it, learning little; where its page is."""
    port = free_port()
    command = [sys.executable, "-m", "aela_dagster.cli", "live", "--port", str(port)]
    log = tmp_path / "live.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--home", str(home.root), "--preset", "quick", "--effort", "0.15"],
            stdout=file,
            stderr=file,
        )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(120) == 0, log.read_text()
        finally:
            process.kill()


@pytest.mark.slow
def test_what_is_taught_on_the_page_is_said_on_the_page(
    link: str, home: Home, nursery: Path, tmp_path: Path
):
    films = {name: sorted((nursery / "train").glob(f"{name}_*.mp4")) for name in TAUGHT}
    every = [film for of_one in films.values() for film in of_one]
    with Browser(*devices(every, tmp_path), flags=[LET_IN]) as browser:
        tab = browser.open_when_served(link)
        tab.click("#start")
        tab.wait("document.querySelectorAll('#chips .chip').length >= 3", LEARNED_S)
        tab.wait("Number(document.querySelector('#count-clips').textContent) > 0", LEARNED_S)
        tab.click("#stop")
        tab.wait("document.querySelector('#generation').textContent.includes('since')", LEARNED_S)
        assert tab.errors == []

    for name in TAUGHT:
        with Browser(*devices(films[name], tmp_path), flags=[LET_IN]) as browser:
            tab = browser.open(link)
            tab.click("#learn")  # what it says now is judged, and nothing new is learned
            tab.click("#start")
            tab.wait("document.querySelector('#saying').checkVisibility()", LEARNED_S)
            tab.wait("document.querySelector('#as-heard').checkVisibility()")
            video, time = tab.evaluate("document.querySelector('#as-heard').title").split(", ")
            assert tab.errors == []
        shown = {one: distance(home, video, float(time[:-2]), films[one]) for one in TAUGHT}
        assert min(shown, key=shown.__getitem__) == name, shown


def distance(home: Home, video: str, time_s: float, films: list[Path]) -> float:
    """How unlike the frame that was kept nearest to a time is to all that some films show."""
    frames = store.read_frames(home, video, ["time_s", "jpeg"]).to_pylist()
    nearest = min(frames, key=lambda frame: abs(frame["time_s"] - time_s))
    kept = small(Image.open(io.BytesIO(nearest["jpeg"])))
    shown = [small(picture.to_image()) for film in films for picture in pictures(film)]
    return min(float(np.abs(kept - picture).mean()) for picture in shown)


def small(picture: Image.Image) -> np.ndarray:
    """float [h, w, 3], 0 to 255."""
    return np.asarray(picture.convert("RGB").resize((40, 30)), dtype=np.float32)
