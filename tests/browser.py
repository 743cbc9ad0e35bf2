"""A real browser for tests: headless Chromium, driven over its DevTools protocol."""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from socket import create_connection
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import av
import numpy as np
import soundfile
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame
from websockets.sync.client import connect

from aela.capture import SAMPLE_RATE_HZ

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "There is no Chromium: install it (Debian: apt-get install chromium) to test the page."
LET_IN = "--use-fake-ui-for-media-stream"  # every page may use camera and microphone
START_S = 60.0
WAIT_S = 60.0
FPS = 10  # of what its camera shows


def chromium() -> str | None:
    """Path of the browser, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def devices(videos: Sequence[Path], folder: Path) -> tuple[Path, Path]:
    """Videos of one size, one after the other, as what Chromium takes for camera and microphone.

    Returns:
        a y4m file at 10 fps and a WAV file of the same length.
    """
    frames: list[VideoFrame] = []
    samples: list[np.ndarray] = []
    for video in videos:
        seen, heard = pictures(video), _sound(video)
        length = len(seen) * SAMPLE_RATE_HZ // FPS
        frames += seen
        samples.append(np.pad(heard, (0, length))[:length])
    microphone = folder / "microphone.wav"
    soundfile.write(microphone, np.concatenate(samples), SAMPLE_RATE_HZ)
    return as_camera(frames, folder), microphone


def as_camera(frames: Sequence[VideoFrame], folder: Path) -> Path:
    """Frames of one size as what Chromium takes for a camera: a y4m file at 10 fps."""
    camera = folder / "camera.y4m"
    with camera.open("wb") as file:
        size = f"W{frames[0].width} H{frames[0].height}"
        file.write(f"YUV4MPEG2 {size} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            file.write(b"FRAME\n" + frame.reformat(format="yuv420p").to_ndarray().tobytes())
    return camera


def pictures(video: Path) -> list[VideoFrame]:
    """The picture in view at each tenth of a second."""
    shown: list[VideoFrame] = []
    with av.open(str(video)) as container:
        start_s: float | None = None
        for frame in container.decode(video=0):
            start_s = frame.time if start_s is None else start_s
            while frame.time - (start_s or 0) >= len(shown) / FPS - 0.01:
                shown.append(frame)
    return shown


def _sound(video: Path) -> np.ndarray:
    """int16 mono [n]."""
    mono = AudioResampler("s16", "mono", SAMPLE_RATE_HZ)
    with av.open(str(video)) as container:
        pieces = [part for piece in container.decode(audio=0) for part in mono.resample(piece)]
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces])


class Browser:
    """One Chromium process with an empty profile of its own.

    Args:
        picture, sound: files that its camera and microphone show again and again: y4m, WAV. Without
            them, made-up ones.
        flags: more of the browser's own.
    """

    def __init__(
        self,
        picture: Path | None = None,
        sound: Path | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        path = chromium()
        assert path is not None, MISSING
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [
            path,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--mute-audio",
            "--autoplay-policy=user-gesture-required",
            "--remote-debugging-port=0",
            f"--user-data-dir={self.profile.name}",
            "--use-fake-device-for-media-stream",
            "--window-size=1280,800",
            *flags,
        ]
        if picture is not None:
            command.append(f"--use-file-for-fake-video-capture={picture}")
        if sound is not None:
            command.append(f"--use-file-for-fake-audio-capture={sound}")
        self.log = Path(self.profile.name) / "log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [*command, "about:blank"], stdout=file, stderr=file, start_new_session=True
            )
        self.tabs: list[Tab] = []
        try:
            self.port = self._port()
        except BaseException:
            self.close()
            raise

    def _port(self) -> int:
        file, until = Path(self.profile.name) / "DevToolsActivePort", time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            if file.exists() and (lines := file.read_text().splitlines()):
                return int(lines[0])
            time.sleep(0.05)
        raise RuntimeError(f"Chromium did not start: {self.log.read_text()[-2000:]}")

    def open(self, url: str) -> "Tab":
        """A new tab that has loaded a page."""
        request = Request(f"http://127.0.0.1:{self.port}/json/new?about:blank", method="PUT")
        with urlopen(request, timeout=START_S) as answer:
            tab = Tab(json.load(answer)["webSocketDebuggerUrl"])
        self.tabs.append(tab)
        tab.go(url)
        return tab

    def open_when_served(self, url: str, timeout_s: float = 120.0) -> "Tab":
        """A new tab, once a server listens."""
        until, parts = time.monotonic() + timeout_s, urlsplit(url)
        while time.monotonic() < until:
            with suppress(OSError):
                create_connection((parts.hostname or "", parts.port or 80), 5).close()
                return self.open(url)
            time.sleep(0.2)
        raise TimeoutError(f"Nobody listens at {url}.")

    def leave(self, tab: "Tab") -> None:
        """Close a tab, as a person does."""
        self.tabs.remove(tab)
        tab.call("Page.close")
        tab.socket.close()

    def close(self) -> None:
        for tab in self.tabs:
            tab.socket.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.profile.cleanup()

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Tab:
    """One tab: what its page shows, and hands that press its buttons."""

    def __init__(self, address: str) -> None:
        self.socket = connect(address, max_size=1 << 26)
        self.numbers = count(1)
        self.errors: list[str] = []
        """What the page did wrong: exceptions and refused loads."""
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask something of the DevTools protocol, and return its answer."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self.socket.recv(timeout=WAIT_S))
            if told.get("id") == number:
                if "error" in told:
                    raise RuntimeError(f"{method}: {told['error']['message']}")
                return told["result"]
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        if told.get("method") == "Runtime.exceptionThrown":
            details = told["params"]["exceptionDetails"]
            thrown = details.get("exception", {}).get("description")
            self.errors.append(thrown or details["text"])
        if told.get("method") == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
            entry = told["params"]["entry"]
            self.errors.append(f"{entry['text']} {entry.get('url', '')}")

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited, as plain data."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, script: str, timeout_s: float = WAIT_S) -> None:
        """Wait until a JavaScript expression is true.

        Raises:
            TimeoutError: it did not become true in time.
        """
        until = time.monotonic() + timeout_s
        while not self.evaluate(f"Boolean({script})"):
            if time.monotonic() > until:
                shown = self.evaluate("document.body.innerText")
                raise TimeoutError(f"Not so: {script}; {self.errors}; the page:\n{shown}")
            time.sleep(0.1)

    def text(self, selector: str) -> str:
        """What an element says; empty when it is not shown."""
        return self.evaluate(
            f"(e => e && e.checkVisibility() ? e.textContent.trim() : '')"
            f"(document.querySelector({selector!r}))"
        )

    def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element, once it stands still, as a person does."""
        self.wait(f"document.querySelector({selector!r})?.checkVisibility()")
        before, place = None, self._place(selector)
        while place != before:
            time.sleep(0.1)
            before, place = place, self._place(selector)
        x, y = place
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def _place(self, selector: str) -> list[float]:
        """The middle of an element, brought into view, in pixels."""
        return self.evaluate(
            "(e => { e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })"
            f"(document.querySelector({selector!r}))"
        )

    def press(self, key: str) -> None:
        """Press a key by its name: one character, which it writes, or such as ArrowRight."""
        text = key if len(key) == 1 else ""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self) -> bytes:
        """What the tab shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])
