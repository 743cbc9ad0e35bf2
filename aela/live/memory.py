"""What of a live source is remembered: not its own voice, not what is to be forgotten.

A minute is looked through once, when it is over, so that whatever happens until then counts: sounds
that were played, a moment that is to be forgotten, learning switched off and on. Times are seconds
from the start of the recording.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from av.packet import Packet

from aela.capture import CaptureSettings, Clip, Frame, Rejection
from aela.capture.feed import Feed
from aela.capture.live import Live, LiveSettings, Minute, Sensed, if_anything
from aela.memory import store

TAIL_S = 0.3  # a sound is heard this much longer: echo, and the way through the loudspeaker
MOMENT_S = 2.0  # frames this near to a clip are of the same moment
UNDECIDED_S = 7.0  # until then, what is seen and heard is decided
SLACK_S = 1.0  # what is shown may have been so long on its way before its clock was tied to ours
MOST_PLAYED = 100  # sounds, while the clock of the source is not known
MOST_KEPT = 200  # of the newest frames and clips, to be looked at and listened to
FORGOTTEN_AFTER_MINUTES = 3  # spans older than that matter no more

Sense = Literal["frame", "clip"]


@dataclass(frozen=True)
class Span:
    """A stretch of time of which something is left out: frames, clips, or both where None."""

    start_s: float
    end_s: float
    why: Literal["own voice", "forgotten", "not learning"]
    sense: Sense | None = None

    def covers(self, sense: str, start_s: float, end_s: float) -> bool:
        return self.sense in (None, sense) and start_s <= self.end_s and end_s >= self.start_s

    def joins(self, other: "Span") -> bool:
        """Whether both overlap and leave out the same for the same reason."""
        same = (self.why, self.sense) == (other.why, other.sense)
        return same and self.start_s <= other.end_s and other.start_s <= self.end_s


@dataclass(frozen=True)
class Kept:
    """A frame (JPEG) or clip (FLAC) that was just decided to be kept."""

    id: int
    sense: Sense
    start_s: float
    end_s: float
    media: bytes


@dataclass(frozen=True)
class Forgetting:
    """What was asked to be forgotten.

    Attributes:
        ids: of what was kept already.
        frames, clips: how many of these.
        written: by number of the minute, what is to be cut out of it, as it was given away already;
            in seconds from its start.
    """

    ids: list[int]
    frames: int
    clips: int
    written: dict[int, list[Span]] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        what = f"{self.frames} pictures and {self.clips} words" if self.ids else "nothing older"
        said = f"The last {UNDECIDED_S:.0f} s are forgotten, and of what was kept {what}"
        return f"{said}; they are being cut out of memory." if self.written else f"{said}."


class LiveMemory(Live):
    """A live source of which only what may be remembered is given away.

    `decided` is called with each frame and clip that is kept, and each rejection of one that is
    left out.
    """

    def __init__(
        self,
        source: str | Feed,
        settings: CaptureSettings | None = None,
        live: LiveSettings | None = None,
        *,
        replay: bool = False,
        tell: Callable[[str], None] = lambda sentence: None,
        arriving: Callable[[Packet], None] = lambda packet: None,
    ) -> None:
        super().__init__(
            source,
            settings,
            live,
            replay=replay,
            tell=tell,
            arriving=arriving,
            notice=self._decide,
        )
        self.decided: Callable[[Kept | Rejection], None] = lambda what: None
        self.lock = threading.RLock()
        self.spans: list[Span] = []
        self.played: deque[tuple[float, float]] = deque(maxlen=MOST_PLAYED)  # not among them yet
        self.kept: dict[int, Kept] = {}
        self.last_id = 0
        self.given = 0  # minutes up to this number were given away

    def hear_itself(self, start_s: float, end_s: float, *, stamped: bool = False) -> None:
        """A sound is played from here to there, which must not be learned.

        Args:
            stamped: the times are by the clock of the source, which may not be tied to ours yet.
        """
        with self.lock:
            if stamped:
                self.played.append((start_s, end_s + TAIL_S))
                self._tie_clocks()
            else:
                self._leave_out(Span(start_s, end_s + TAIL_S, "own voice", "clip"))

    def begin(self) -> None:
        """What is shown comes by another clock now; what was played by the last is over."""
        with self.lock:
            self.played.clear()

    @property
    def learning(self) -> bool:
        return not any(span.end_s == math.inf for span in self.spans)

    def learn(self, on: bool) -> None:
        """From now on, remember, or do not."""
        with self.lock:
            now_s = self.now_s()
            if on and not self.learning:
                end_s = now_s + SLACK_S
                ended = [replace(s, end_s=end_s) for s in self.spans if s.end_s == math.inf]
                self.spans = [s for s in self.spans if s.end_s < math.inf] + ended
            elif not on and self.learning:
                self._leave_out(Span(now_s, math.inf, "not learning"))

    def forget(self, word_just_now: bool) -> Forgetting:
        """Forget the last moment: what was not decided yet, and what was kept last.

        Args:
            word_just_now: a word was heard that is not decided yet; then that one is meant, and
                nothing before it.
        """
        with self.lock:
            now_s = self.now_s()
            spans = [Span(now_s - UNDECIDED_S, now_s + SLACK_S, "forgotten")]
            if not word_just_now:
                spans += self._last_moment()
            for span in spans:
                self._leave_out(span)
            gone = [
                k for k in self.kept.values() if _leaves_out(spans, k.sense, k.start_s, k.end_s)
            ]
            for kept in gone:
                del self.kept[kept.id]
            minute_s = self.live.minute_s
            numbers = {math.floor(kept.start_s / minute_s) for kept in gone}
            written = {
                number: [_since(span, number * minute_s) for span in spans]
                for number in sorted(numbers)
                if number < self.given
            }
            clips = sum(kept.sense == "clip" for kept in gone)
            return Forgetting([k.id for k in gone], len(gone) - clips, clips, written)

    def is_given(self, kept: Kept) -> bool:
        """Whether the minute in which something was kept was given away."""
        return kept.start_s < self.given * self.live.minute_s

    def minutes(self, most: int | None = None) -> Iterator[Minute]:
        """As of `Live`, without what is left out; a minute of which nothing is left is none."""
        for minute in super().minutes(most):
            yield from if_anything(self._sifted(minute))

    def _tie_clocks(self) -> None:
        """Make spans of what was played by the source's clock, once that is known."""
        began_s = self.recorded_s(0.0)
        if began_s is not None:
            for start_s, end_s in self.played:
                self._leave_out(Span(start_s + began_s, end_s + began_s, "own voice", "clip"))
            self.played.clear()

    def _leave_out(self, span: Span) -> None:
        """Add a span; those that overlap become one, so that they stay few whoever asks."""
        apart = []
        for other in self.spans:
            if span.joins(other):
                start_s, end_s = min(span.start_s, other.start_s), max(span.end_s, other.end_s)
                span = replace(span, start_s=start_s, end_s=end_s)
            else:
                apart.append(other)
        self.spans = [*apart, span]

    def _last_moment(self) -> list[Span]:
        for sense in ("clip", "frame"):
            of_sense = [kept for kept in self.kept.values() if kept.sense == sense]
            if of_sense:
                last = max(of_sense, key=lambda kept: kept.start_s)
                around = Span(last.start_s - MOMENT_S, last.end_s + MOMENT_S, "forgotten", "frame")
                return [Span(last.start_s, last.end_s, "forgotten", "clip"), around]
        return []

    def _decide(self, sensed: Sensed) -> None:
        """Something was decided; it is told unless it is to be left out."""
        if isinstance(sensed, Rejection):
            self.decided(sensed)
            return
        sense, start_s, end_s = _times(sensed)
        with self.lock:
            self._tie_clocks()
            span, kept = _leaves_out(self.spans, sense, start_s, end_s), None
            if span is None:
                media = sensed.jpeg if isinstance(sensed, Frame) else store.to_flac(sensed.samples)
                self.last_id += 1
                kept = Kept(self.last_id, sense, start_s, end_s, media)
                self.kept[kept.id] = kept
                if len(self.kept) > MOST_KEPT:
                    del self.kept[next(iter(self.kept))]
        if kept is not None:
            self.decided(kept)
        elif span is not None and span.why == "own voice":
            self.decided(_own_voice(sense, start_s, end_s))

    def _sifted(self, minute: Minute) -> Minute:
        begin_s = minute.number * self.live.minute_s
        with self.lock:
            self._tie_clocks()
            spans = [_since(span, begin_s) for span in self.spans]
            self.given = max(self.given, minute.number + 1)
            oldest_s = begin_s - FORGOTTEN_AFTER_MINUTES * self.live.minute_s
            self.spans = [span for span in self.spans if span.end_s >= oldest_s]
        return Minute(
            minute.number, [left for sensed in minute.sensed for left in sift(sensed, spans)]
        )


def sift(sensed: Sensed, spans: list[Span]) -> Iterator[Sensed]:
    """The same, or what is left of it: of its own voice, that it was left out."""
    sense, start_s, end_s = _times(sensed)
    span = _leaves_out(spans, sense, start_s, end_s)
    if span is None or (span.why == "own voice" and isinstance(sensed, Rejection)):
        yield sensed
    elif span.why == "own voice":
        yield _own_voice(sense, start_s, end_s)


def _own_voice(sense: Sense, start_s: float, end_s: float) -> Rejection:
    return Rejection(sense, start_s, end_s, "own voice", end_s - start_s)


def _leaves_out(spans: list[Span], sense: Sense, start_s: float, end_s: float) -> Span | None:
    """The span that something falls into; rather one of which nothing is to be known."""
    found = [span for span in spans if span.covers(sense, start_s, end_s)]
    return max(found, key=lambda span: span.why != "own voice", default=None)


def _times(sensed: Sensed) -> tuple[Sense, float, float]:
    if isinstance(sensed, Frame):
        return "frame", sensed.time_s, sensed.time_s
    sense: Sense = "clip" if isinstance(sensed, Clip) else sensed.sense
    return sense, sensed.start_s, sensed.end_s


def _since(span: Span, begin_s: float) -> Span:
    return replace(span, start_s=span.start_s - begin_s, end_s=span.end_s - begin_s)
