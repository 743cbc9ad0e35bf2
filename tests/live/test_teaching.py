"""Two things are shown to the page and named; shown one again, it says the word it was taught."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aela.memory import manifest as manifests
from aela.memory import store
from aela.mimicry import generation as generations
from aela.nursery import NurserySettings, make_nursery
from aela.storage import Home
from tests.browser import LET_IN, MISSING, Browser, chromium, devices, pictures
from tests.live.pages import free_port

pytestmark = pytest.mark.skipif(chromium() is None, reason=MISSING)

THINGS = ("acorn", "spoon")
TAUGHT = NurserySettings(
    things=2, train_seconds=20, test_segment_seconds=5, width=320, height=240, fps=10
)
LOOKS = 12  # at each thing, half a second apart
LEARNED_S = 1500.0  # at most, on a machine that is busy with much else


@pytest.fixture
def link(home: Home, tmp_path: Path) -> Iterator[str]:
    """`aela live` as a person starts it, for a first look; where its page is."""
    port = free_port()
    command = [sys.executable, "-m", "aela_dagster.cli", "live", "--port", str(port)]
    log = tmp_path / "live.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--home", str(home.root), "--preset", "quick"],
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
@pytest.mark.skipif(
    "AELA_TEACH" not in os.environ,
    reason="It teaches and learns for five to ten minutes: set AELA_TEACH=1 to run it.",
)
def test_what_is_taught_on_the_page_is_said_on_the_page(link: str, home: Home, tmp_path: Path):
    make_nursery(tmp_path / "nursery", TAUGHT)
    films = {
        thing: [tmp_path / "nursery" / "train" / f"{thing}_{room}.mp4" for room in "ab"]
        for thing in THINGS
    }
    in_turn = [film for pair in zip(*films.values(), strict=True) for film in pair]
    with Browser(*devices(in_turn, tmp_path), flags=[LET_IN]) as browser:
        tab = browser.open_when_served(link)
        tab.click("#start")
        tab.wait("Number(document.querySelector('#count-videos').textContent) >= 2", LEARNED_S)
        tab.click("#stop")
        wait_until_all_is_learned(home)
        tab.wait("document.querySelector('#generation').textContent.includes('since')", LEARNED_S)
        assert tab.errors == []

    views = {
        thing: [small(picture.to_image()) for film in of_one for picture in pictures(film)]
        for thing, of_one in films.items()
    }
    for thing in THINGS:
        with Browser(*devices(films[thing], tmp_path), flags=[LET_IN]) as browser:
            tab = browser.open(link)
            tab.wait("!document.querySelector('#learn').disabled")
            if tab.evaluate("document.querySelector('#learn').ariaPressed === 'true'"):
                tab.click("#learn")  # what it says now is judged, and nothing new is learned
            tab.click("#start")
            tab.wait("document.querySelector('#saying').dataset.word", LEARNED_S)
            words = []
            while len(words) < LOOKS:
                tab.wait("document.querySelector('#as-heard').checkVisibility()", LEARNED_S)
                words.append(tab.evaluate("document.querySelector('#as-heard').title"))
                time.sleep(0.5)
            assert tab.errors == []
        heard_with = [shown_with(home, said, views) for said in words]
        assert heard_with.count(thing) > LOOKS / 2, (words, heard_with)


def wait_until_all_is_learned(home: Home) -> None:
    """Until a generation speaks that knows all that was shown: the first may know one minute."""
    deadline = time.monotonic() + LEARNED_S
    while time.monotonic() < deadline:
        speaks = generations.current(home)
        if speaks and speaks.manifest == manifests.of_now(home).sha:
            return
        time.sleep(1)
    raise TimeoutError(f"Not all was learned within {LEARNED_S:.0f} s.")


def shown_with(home: Home, said: str, views: dict[str, list[np.ndarray]]) -> str:
    """What was shown when a remembered word was heard, by the frame that was kept next to it.

    Args:
        said: the word as the page names it: "VIDEO, 12.3 s".
        views: all that was shown of each thing.
    """
    video, time_s = said.removesuffix(" s").split(", ")
    frames = store.read_frames(home, video, ["time_s", "jpeg"]).to_pylist()
    nearest = min(frames, key=lambda frame: abs(frame["time_s"] - float(time_s)))
    kept = small(Image.open(io.BytesIO(nearest["jpeg"])))
    unlike = {
        thing: min(float(np.abs(kept - view).mean()) for view in of_one)
        for thing, of_one in views.items()
    }
    return min(unlike, key=unlike.__getitem__)


def small(picture: Image.Image) -> np.ndarray:
    """float [h, w, 3], 0 to 255."""
    return np.asarray(picture.convert("RGB").resize((40, 30)), dtype=np.float32)
