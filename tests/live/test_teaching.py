"""Two things are shown to the page and named; shown one again, it says the word it was taught."""

import io
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aela.memory import store
from aela.storage import Home
from tests.live.browser import LET_IN, MISSING, Browser, chromium, devices, pictures
from tests.live.pages import free_port

pytestmark = pytest.mark.skipif(chromium() is None, reason=MISSING)

TAUGHT = ("acorn", "spoon")
LOOKS = 12  # at each thing, half a second apart
LEARNED_S = 1500.0  # at most, on a machine that is busy with much else


@pytest.fixture
def link(home: Home, tmp_path: Path) -> Iterator[str]:
    """`aela live` as a person starts it, learning little; where its page is."""
    port = free_port()
    command = [sys.executable, "-m", "aela_dagster.cli", "live", "--port", str(port)]
    log = tmp_path / "live.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--home", str(home.root), "--preset", "quick", "--effort", "0.5"],
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

    views = {
        name: [small(picture.to_image()) for film in of_one for picture in pictures(film)]
        for name, of_one in films.items()
    }
    for name in TAUGHT:
        with Browser(*devices(films[name], tmp_path), flags=[LET_IN]) as browser:
            tab = browser.open(link)
            tab.wait("!document.querySelector('#learn').disabled")
            if tab.evaluate("document.querySelector('#learn').ariaPressed === 'true'"):
                tab.click("#learn")  # what it says now is judged, and nothing new is learned
            tab.click("#start")
            tab.wait("document.querySelector('#saying').checkVisibility()", LEARNED_S)
            words = []
            while len(words) < LOOKS:
                tab.wait("document.querySelector('#as-heard').checkVisibility()", LEARNED_S)
                words.append(tab.evaluate("document.querySelector('#as-heard').title"))
                time.sleep(0.5)
            assert tab.errors == []
        heard_with = [shown_with(home, word, views) for word in words]
        assert heard_with.count(name) > LOOKS / 2, (words, heard_with)


def shown_with(home: Home, word: str, views: dict[str, list[np.ndarray]]) -> str:
    """What was shown when a remembered word was heard, by the frame that was kept next to it.

    Args:
        word: as the page names it: "VIDEO, 12.3 s".
        views: all that was shown of each thing.
    """
    video, time_s = word.removesuffix(" s").split(", ")
    frames = store.read_frames(home, video, ["time_s", "jpeg"]).to_pylist()
    nearest = min(frames, key=lambda frame: abs(frame["time_s"] - float(time_s)))
    kept = small(Image.open(io.BytesIO(nearest["jpeg"])))
    unlike = {name: min(float(np.abs(kept - v).mean()) for v in of) for name, of in views.items()}
    return min(unlike, key=unlike.__getitem__)


def small(picture: Image.Image) -> np.ndarray:
    """float [h, w, 3], 0 to 255."""
    return np.asarray(picture.convert("RGB").resize((40, 30)), dtype=np.float32)
