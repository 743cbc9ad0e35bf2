"""`aela live`: a live page, what it shows is remembered and learned from, and the system speaks."""

import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from aela.capture.feed import Feed
from aela.capture.live import LiveSettings
from aela.live.door import LOOPBACK, Door
from aela.live.eyes import Eyes
from aela.live.follower import Follower
from aela.live.memory import LiveMemory, Span
from aela.live.server import Server
from aela.live.session import Session
from aela.live.speaker import Speaker
from aela_dagster import recording
from aela_dagster.learner import Learner
from aela_dagster.runs import Runner
from aela_dagster.survey import Survey
from resources.compute import Compute
from resources.memory import Memory

MOST_WRITING_S = 60.0  # until a minute that is over is written


def run(console: Console, runner: Runner, door: Door, source: str | None, learning: bool) -> None:
    """Serve the page, remember, learn and speak until Ctrl+C or SIGTERM; then end in order.

    Raises:
        UnreadableVideo: the source is none.
        OSError: nobody can listen there, or a minute could not be written until the end.
    """
    import torch

    torch.set_num_threads(1)  # Trainings beside it need the other cores.
    live = Live(runner, door, source, learning, _teller(console))
    stopping = threading.Event()
    for ending in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(ending)

        def stop(number: int, _: object, before: Any = before) -> None:
            stopping.set()
            signal.signal(number, before)  # A second time ends at once.

        signal.signal(ending, stop)
    _introduce(console, door, live.memory.name)
    live.start()
    try:
        while not stopping.wait(0.2) and live.recording.is_alive():
            pass
    finally:
        console.print("Finishing the open minute …", highlight=False)
        live.stop()


def _introduce(console: Console, door: Door, source: str) -> None:
    console.print(
        f"Open [bold]{door.link}[/] in a browser; stop with Ctrl+C.",
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


def _teller(console: Console) -> Callable[[str], None]:
    def tell(sentence: str) -> None:
        console.print(f"  [yellow]![/] {escape(sentence)}", highlight=False, soft_wrap=True)

    return tell


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
        self.runner, self.tell = runner, tell
        feed = None if source else Feed("the page")
        self.eyes = None if feed else Eyes(lambda jpeg: self.session.see(jpeg), self._hear)
        self.memory = LiveMemory(
            feed or source,
            Memory().capture_settings,
            settings,
            replay=source is not None and Path(source).is_file(),
            tell=self._tell,
            **({"arriving": self.eyes.take} if self.eyes else {}),
        )
        self.survey = Survey(runner)
        self.cutter = Cutter(runner, self._tell)
        self.speaker = Speaker(self._tell)
        self.session = Session(
            self.memory, feed, survey=self.survey, cut=self.cutter.ask, speaker=self.speaker.say
        )
        compute = Compute(**runner.compute)
        self.follower = Follower(
            runner.home,
            compute.settings.mimicry,
            compute.torch_device(),
            self.session.watcher.take_over,
            self._tell,
        )
        self.learner = Learner(runner.instance) if learning else None
        self.memory.learn(learning)
        self.server = Server(runner.home, self.session, door)
        self.recording = threading.Thread(target=self._record, name="recording", daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        self.session.watcher.start()
        for part in (self.eyes, self.survey, self.cutter, self.follower, self.speaker):
            if part is not None:
                part.start()
        if self.learner is not None:
            self.learner.start()
        self.recording.start()
        self.server.start()

    def stop(self) -> None:
        """End in order: first nobody shows any more, then what was shown is written.

        Raises:
            UnreadableVideo, OSError: recording had failed.
        """
        self.server.stop()
        self.cutter.stop()
        self.memory.stop()
        self.recording.join()
        self.session.watcher.stop()
        for part in (self.eyes, self.follower, self.survey, self.speaker, self.learner):
            if part is not None:
                part.stop()
        if self.failure is not None:
            raise self.failure

    def _record(self) -> None:
        try:
            entries = recording.record(
                self.runner.home, self.memory, "learn", self.runner.instance, tell=self._tell
            )
            for entry in entries:
                self.cutter.written(entry.video)
        except Exception as error:  # Told by who waits for it, in another thread.
            self.failure = error

    def _hear(self, *sound: Any) -> None:
        self.session.hear(*sound)

    def _tell(self, sentence: str) -> None:
        """On the terminal, and on all pages."""
        self.tell(sentence)
        self.session.notice(sentence)


class Cutter:
    """A thread that leaves moments out of minutes that were written already."""

    def __init__(self, runner: Runner, tell: Callable[[str], None]) -> None:
        self.runner, self.tell = runner, tell
        self.keys: dict[int, str] = {}  # of minutes, by number
        self.asked: queue.Queue[tuple[int, list[Span]] | None] = queue.Queue()
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name="cutter", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End once all that was asked for is done."""
        self.asked.put(None)
        self.thread.join()

    def written(self, video: str) -> None:
        """A minute is in memory under this key."""
        with self.changed:
            self.keys[recording.minute_number(video)] = video
            self.changed.notify()

    def ask(self, minutes: dict[int, list[Span]]) -> None:
        """Leave spans, in seconds from the start of each minute, out of minutes by number."""
        for asked in minutes.items():
            self.asked.put(asked)

    def _run(self) -> None:
        while (asked := self.asked.get()) is not None:
            self._cut(*asked)

    def _cut(self, number: int, spans: list[Span]) -> None:
        with self.changed:
            known = self.changed.wait_for(lambda: number in self.keys, timeout=MOST_WRITING_S)
        if not known:  # Nothing of it was left to be written.
            return

        def left_out(sense: Any, start_s: float, end_s: float) -> bool:
            return any(span.covers(sense, start_s, end_s) for span in spans)

        try:
            left = recording.cut(self.runner, self.keys[number], left_out, self.tell)
        except (OSError, ValueError, LookupError) as error:
            self.tell(
                f"A moment in {self.keys[number]} is not forgotten yet ({error}); forget the whole "
                "video with `aela memory forget`."
            )
            return
        if left is None:
            del self.keys[number]
        else:
            self.keys[number] = left
