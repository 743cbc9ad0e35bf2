"""Leaves moments that were forgotten out of minutes that were written already."""

import queue
import threading
from collections.abc import Callable

from aela.live.memory import Span
from aela_dagster import recording
from aela_dagster.runs import Runner

MOST_WRITING_S = 60.0  # until a minute that is over is written


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

        def left_out(sense: str, start_s: float, end_s: float) -> bool:
            return any(span.covers(sense, start_s, end_s) for span in spans)

        try:
            left = recording.cut(self.runner, self.keys[number], left_out, self.tell)
        except Exception as error:  # Dagster's database among others; the next is asked for still.
            self.tell(
                f"A moment in {self.keys[number]} is not forgotten yet ({error}); forget the whole "
                "video with `aela memory forget`."
            )
            return
        if left is None:
            del self.keys[number]
        else:
            self.keys[number] = left
