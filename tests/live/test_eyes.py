"""A source of the server's own is seen and heard at once, while capture takes its time."""

import io
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from aela.capture.live import Live
from aela.live.eyes import Eyes
from tests.live.pages import PATIENCE_S


def follow(source: str, eyes: Eyes, enough: threading.Event) -> None:
    """Follow a source until enough was seen."""
    eyes.start()
    live = Live(source, arriving=eyes.take)
    thread = threading.Thread(target=lambda: list(live.minutes()), daemon=True)
    thread.start()
    assert enough.wait(PATIENCE_S)
    live.stop()
    thread.join(PATIENCE_S)
    eyes.stop()


def test_a_replayed_film_is_seen_and_heard_as_it_is_played(film: Path):
    pictures: list[bytes] = []
    heard: list[np.ndarray] = []
    enough = threading.Event()

    def see(jpeg: bytes) -> None:
        pictures.append(jpeg)
        if len(pictures) >= 10 and sum(map(len, heard)) > 16_000:
            enough.set()

    eyes = Eyes(see, lambda samples, rate_hz: heard.append(samples))
    eyes.start()
    live = Live(str(film), replay=True, arriving=eyes.take)
    thread = threading.Thread(target=lambda: list(live.minutes()), daemon=True)
    thread.start()
    assert enough.wait(PATIENCE_S)
    assert live.now_s() < 7  # the film is not over
    live.stop()
    thread.join(PATIENCE_S)
    eyes.stop()
    assert Image.open(io.BytesIO(pictures[0])).size == (160, 120)
    assert np.abs(np.concatenate(heard)).max() > 0.05  # a word


def test_devices_without_packed_pictures_are_seen_too():
    """A camera may give raw pictures, and a microphone plain samples."""
    pictures, enough = [], threading.Event()
    levels: list[float] = []

    def see(jpeg: bytes) -> None:
        pictures.append(jpeg)
        if len(pictures) > 3 and levels:
            enough.set()

    eyes = Eyes(see, lambda samples, rate_hz: levels.append(float(np.abs(samples).max())))
    sound = "aevalsrc='0.3*sin(2*PI*440*t)':s=44100,arealtime"
    source = f"lavfi:testsrc2=size=160x120:rate=10,realtime+lavfi:{sound}"
    follow(source, eyes, enough)
    assert max(levels) > 0.2


def test_pixels_that_are_no_squares_are_shown_as_squares():
    pictures, enough = [], threading.Event()

    def see(jpeg: bytes) -> None:
        pictures.append(jpeg)
        enough.set()

    eyes = Eyes(see, lambda samples, rate_hz: None)
    source = "lavfi:testsrc2=size=160x120:rate=10,setsar=2,realtime+lavfi:anullsrc,arealtime"
    follow(source, eyes, enough)
    assert Image.open(io.BytesIO(pictures[0])).size == (320, 120)
