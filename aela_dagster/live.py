"""`aela live`: a live page, what it shows is remembered and learned from, and the system speaks."""

import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from aela.capture import SAMPLE_RATE_HZ
from aela.capture.feed import Feed
from aela.capture.live import LiveSettings
from aela.evaluation import pictures
from aela.live.door import LOOPBACK, Door
from aela.live.eyes import Eyes
from aela.live.follower import Follower
from aela.live.memory import LiveMemory
from aela.live.server import Server
from aela.live.session import Session
from aela.live.speaker import Speaker
from aela.presets import preset
from aela_dagster import recording
from aela_dagster.cutter import Cutter
from aela_dagster.learner import Learner
from aela_dagster.runs import Runner
from aela_dagster.survey import Survey
from resources.devices import torch_device


def run(console: Console, runner: Runner, door: Door, source: str | None, learning: bool) -> None:
    """Serve the page, remember, learn and speak until Ctrl+C, SIGTERM or the end of the
    terminal; then end in order.

    Raises:
        UnreadableVideo: the source is none.
        OSError: nobody can listen there, or a minute could not be written until the end.
    """
    import torch

    torch.set_num_threads(1)  # Trainings beside it need the other cores.
    live = Live(runner, door, source, learning, recording.teller(console))
    stopping = threading.Event()
    recording.stopped_by_signals(stopping.set)
    load_ahead()
    _introduce(console, door)
    live.start()
    try:
        while not stopping.wait(0.2) and live.recording.is_alive():
            pass
    finally:
        console.print("Finishing the open minute …", highlight=False)
        live.stop()


def _introduce(console: Console, door: Door) -> None:
    console.print(
        f"Open [bold]{escape(door.link)}[/] in a browser; stop with Ctrl+C.",
        highlight=False,
        soft_wrap=True,
    )
    if door.host not in LOOPBACK and not (door.address or "").startswith("https"):
        console.print(
            "Whoever has this link may look on and teach it. Browsers give camera and microphone "
            "only to pages of this machine or of https addresses: for others, put a reverse proxy "
            "with a certificate before it and name its address with --address.",
            highlight=False,
            soft_wrap=True,
        )


def camera_source(number: int) -> str:
    """The camera of that number with the usual microphone, as a live source of this system."""
    if sys.platform == "darwin":
        return f"avfoundation:{number}:0?framerate=30"
    return f"v4l2:/dev/video{number}+alsa:default"


class Live:
    """All that runs during a live session, each part in a thread or process of its own."""

    def __init__(
        self,
        runner: Runner,
        door: Door,
        source: str | None,
        learning: bool,
        tell: Callable[[str], None],
        settings: LiveSettings | None = None,
    ) -> None:
        from aela_dagster.definitions import the_memory

        self.runner, self.tell = runner, tell
        feed = None if source else Feed("the page")
        self.eyes = Eyes(lambda jpeg: self.session.see(jpeg), self._hear)
        self.memory = LiveMemory(
            feed or source or "",
            the_memory.capture_settings,
            settings,
            replay=source is not None and Path(source).is_file(),
            tell=self._tell,
            arriving=self.eyes.take if source else lambda packet: None,
        )
        self.survey = Survey(runner)
        self.cutter = Cutter(runner, self._tell)
        self.speaker = Speaker(self._tell)
        self.session = Session(
            self.memory, feed, survey=self.survey, cut=self.cutter.ask, speaker=self.speaker.say
        )
        mimicry = preset(runner.compute["preset"]).mimicry
        device = torch_device(runner.compute["device"])
        take_over = self.session.watcher.take_over
        self.follower = Follower(runner.home, mimicry, device, take_over, self._tell)
        self.learner = Learner(runner.instance, self._tell) if learning else None
        self.memory.learn(learning)
        self.server = Server(runner.home, self.session, door)
        self.recording = threading.Thread(target=self._record, name="recording", daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        for part in (self.session.watcher, *self._helpers(), self.recording, self.server):
            part.start()

    def stop(self) -> None:
        """End in order: first nobody shows any more, then what was shown is written.

        Raises:
            UnreadableVideo, OSError: recording had failed.
        """
        self.server.stop()
        self.cutter.stop()
        self.memory.stop()
        self.recording.join()
        self.cutter.finish()
        for part in (self.session.watcher, *self._helpers()):
            part.stop()
        if self.failure is not None:
            raise self.failure

    def _helpers(self) -> list[Eyes | Survey | Cutter | Follower | Speaker | Learner]:
        helpers = [self.eyes, self.survey, self.cutter, self.follower, self.speaker]
        return [*helpers, self.learner] if self.learner else helpers

    def _record(self) -> None:
        try:
            entries = recording.record(
                self.runner.home, self.memory, "learn", self.runner.instance, tell=self._tell
            )
            for entry in entries:
                self.cutter.written(entry.video)
                give_back_memory()
        except Exception as error:  # Told by who waits for it, in another thread.
            self.failure = error

    def _hear(self, *sound: Any) -> None:
        self.session.hear(*sound)

    def _tell(self, sentence: str) -> None:
        """On the terminal, and on all pages."""
        self.tell(sentence)
        self.session.notice(sentence)


def load_ahead() -> None:
    """Load now what writing the first minute needs: in between, it would hold up looks and words.

    What is loaded by then stays, and is not gone through again in search of what can be freed.
    """
    pictures.spectrograms([np.zeros(SAMPLE_RATE_HZ, np.float32)], [""])
    gc.collect()
    gc.freeze()


def give_back_memory() -> None:
    """Give what nobody holds any more back to the machine: glibc keeps it, in pieces for each
    thread.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
