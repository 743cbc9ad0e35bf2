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
import soundfile
from av.video.frame import VideoFrame
from PIL import Image

from aela.capture import SAMPLE_RATE_HZ
from aela.memory import store
from aela.storage import Home
from tests.live.browser import FPS, LET_IN, MISSING, Browser, as_camera, chromium
from tests.live.pages import free_port
from tests.live.speaking import THINGS, jpeg, word

pytestmark = pytest.mark.skipif(chromium() is None, reason=MISSING)

SHOWN_S = 16  # each thing, before the other
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
            [*command, "--home", str(home.root), "--preset", "quick", "--effort", "0.3"],
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
def test_what_is_taught_on_the_page_is_said_on_the_page(link: str, home: Home, tmp_path: Path):
    views = {thing: turning(thing) for thing in THINGS}
    with Browser(*showing(views, tmp_path), flags=[LET_IN]) as browser:
        tab = browser.open_when_served(link)
        tab.click("#start")
        tab.wait("Number(document.querySelector('#count-clips').textContent) > 0", LEARNED_S)
        tab.click("#stop")
        tab.wait("document.querySelector('#generation').textContent.includes('since')", LEARNED_S)
        assert tab.errors == []

    for thing in THINGS:
        again = showing({thing: views[thing]}, tmp_path)
        with Browser(*again, flags=[LET_IN]) as browser:
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


def turning(thing: str) -> list[Image.Image]:
    """What the camera sees of a thing that is moved to and fro, ten pictures a second."""
    moved_px = 40 * np.sin(np.arange(0, SHOWN_S, 1 / FPS))
    return [Image.open(io.BytesIO(jpeg(thing, round(moved)))) for moved in moved_px]


def showing(views: dict[str, list[Image.Image]], folder: Path) -> tuple[Path, Path]:
    """Camera and microphone: each thing is shown in turn, and named every two seconds."""
    frames = [VideoFrame.from_image(view) for of_one in views.values() for view in of_one]
    samples = np.random.default_rng(0).normal(0, 1e-3, len(frames) * SAMPLE_RATE_HZ // FPS)
    for number, thing in enumerate(views):
        for named_s in np.arange(1, SHOWN_S - 1, 2):
            start = round((number * SHOWN_S + named_s) * SAMPLE_RATE_HZ)
            samples[start:][: len(word(thing))] += word(thing)
    microphone = folder / "microphone.wav"
    soundfile.write(microphone, samples.clip(-1, 1), SAMPLE_RATE_HZ)
    return as_camera(frames, folder), microphone


def shown_with(home: Home, said: str, views: dict[str, list[Image.Image]]) -> str:
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
        thing: min(float(np.abs(kept - small(view)).mean()) for view in of_one)
        for thing, of_one in views.items()
    }
    return min(unlike, key=unlike.__getitem__)


def small(picture: Image.Image) -> np.ndarray:
    """float [h, w, 3], 0 to 255."""
    return np.asarray(picture.convert("RGB").resize((40, 30)), dtype=np.float32)
