"""Leaves moments that were forgotten out of minutes that were written already."""

import threading
from collections.abc import Callable

from aela.live.memory import Span
from aela_dagster import recording
from aela_dagster.runs import Runner

Asked = tuple[int, list[Span]]


class Cutter:
    """A thread that leaves moments out of minutes once these are written, however long that takes.

    Attributes:
        keys: of the minutes in memory, by number.
        newest: number of the last one that was written; they are written in order.
        pending: what is still to be left out: spans in seconds from the start of a minute, and the
            number of that.
    """

    def __init__(self, runner: Runner, tell: Callable[[str], None]) -> None:
        self.runner, self.tell = runner, tell
        self.keys: dict[int, str] = {}
        self.newest = -1
        self.pending: list[Asked] = []
        self.stopping = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name="cutter", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End once all is left out of what is written by now."""
        with self.changed:
            self.stopping = True
            self.changed.notify()
        self.thread.join()

    def finish(self) -> None:
        """After the stop, and once nothing more is written: the rest."""
        while asked := self._due():
            self._cut(*asked)

    def written(self, video: str) -> None:
        """A minute is in memory under this key."""
        with self.changed:
            self.newest = recording.minute_number(video)
            self.keys[self.newest] = video
            self.changed.notify()

    def ask(self, minutes: dict[int, list[Span]]) -> None:
        """Leave spans, in seconds from the start of each minute, out of minutes by number."""
        with self.changed:
            self.pending += minutes.items()
            self.changed.notify()

    def _run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.stopping or self._due())
                asked = self._due()
            if asked is None:
                return
            self._cut(*asked)

    def _due(self) -> Asked | None:
        return next((asked for asked in self.pending if asked[0] <= self.newest), None)

    def _cut(self, number: int, spans: list[Span]) -> None:
        with self.changed:
            self.pending.remove((number, spans))
            video = self.keys.pop(number, None)
        if video is None:  # Nothing of it was left to be written, or all of it was cut already.
            return

        def left_out(sense: str, start_s: float, end_s: float) -> bool:
            return any(span.covers(sense, start_s, end_s) for span in spans)

        try:
            left = recording.cut(self.runner, video, left_out, self.tell)
        except Exception as error:  # Dagster's database among others; the next is asked for still.
            self.tell(
                f"A moment in {video} is not forgotten yet ({error}); forget the whole video with "
                "`aela memory forget`."
            )
            left = video
        if left is not None:
            with self.changed:
                self.keys[number] = left
