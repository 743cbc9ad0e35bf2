"""Looks at the newest picture, always, and decides what is said."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aela.capture import SAMPLE_RATE_HZ, CaptureSettings
from aela.live.mind import Mind, Thought
from aela.live.pictures import Look, Looker
from aela.mimicry.certainty import certainty
from aela.mimicry.sayings import Heard, Turn

AGREES_WITHIN_S = 1.0  # two looks in a row must bring the same word to mind before it is said
UNCHANGED_S = 1.0  # the remembered moments are told this often while they stay the same
WAV_HEADER_BYTES = 44


@dataclass(frozen=True)
class Word:
    """A word as a sound: its number, which no other has, and a WAV file."""

    number: int
    wav: bytes

    @property
    def seconds(self) -> float:
        return (len(self.wav) - WAV_HEADER_BYTES) / 2 / SAMPLE_RATE_HZ


class Watcher:
    """A thread that looks at the newest picture; those that came meanwhile are left out.

    `told` is given what it makes of each picture, as a message for a page; `thinks_of` a word that
    may be said soon; `says` one that is said now, and the time stamp of the picture.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        told: Callable[[dict[str, Any]], None],
        thinks_of: Callable[[Word], None],
        says: Callable[[Word, float], None],
    ) -> None:
        self.settings = settings
        self.told, self.thinks_of, self.says = told, thinks_of, says
        self.speaks = True
        self.left_out = 0
        """Pictures that were not looked at, as newer ones had come."""
        self.mind: Mind | None = None
        self._coming: Mind | None = None
        self._replaced = False
        self._newest: tuple[float, bytes] | None = None
        self._anew = True
        self._complaint = ""
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the look that is under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def begin(self) -> None:
        """Another source, or another clock: nothing of before counts."""
        with self._changed:
            self._newest, self._anew = None, True

    def show(self, stamp_s: float, jpeg: bytes) -> None:
        """Take the newest picture; never waits."""
        with self._changed:
            self.left_out += self._newest is not None
            self._newest = stamp_s, jpeg
            self._changed.notify()

    def take_over(self, mind: Mind | None) -> None:
        """From the next picture on, another generation looks; with None, there is none."""
        with self._changed:
            self._coming, self._replaced = mind, True

    @property
    def newest_mind(self) -> Mind | None:
        """Who looks from the next picture on."""
        return self._coming if self._replaced else self.mind

    def _run(self) -> None:
        looker, mouth = Looker(self.settings), None
        while (newest := self._next()) is not None:
            (stamp_s, jpeg), anew, replaced = newest
            if anew:
                looker = Looker(self.settings)
            if anew or replaced:
                mouth = None
                if self.mind is not None:
                    self.mind.start_anew()
                    mouth = _Mouth(self.mind)
            try:
                self._look(looker, mouth, stamp_s, jpeg)
            except Exception as error:  # A damaged memory among others; it looks at the next one.
                self._complain(error)

    def _look(self, looker: Looker, mouth: "_Mouth | None", stamp_s: float, jpeg: bytes) -> None:
        look = looker.look(stamp_s, jpeg)
        if look is None:  # It could not be decoded.
            return
        thought = None
        if self.mind is not None and look.sharp:
            thought = self.mind.look(look.jpeg, look.before, look.after, look.stamp_s)
        self._tell(look, thought, mouth)

    def _complain(self, error: Exception) -> None:
        """Tell what went wrong, once until it is something else."""
        sentence = f"What is shown could not be looked at ({error}); trying again."
        if sentence != self._complaint:
            self._complaint = sentence
            self.told({"type": "notice", "sentence": sentence})

    def _next(self) -> tuple[tuple[float, bytes], bool, bool] | None:
        """The newest picture, once there is one; whether all begins anew, and whether another
        looks from now on.

        None at the end.
        """
        with self._changed:
            while self._newest is None and not self._stopping:
                self._changed.wait()
            if self._stopping or self._newest is None:
                return None
            found = self._newest, self._anew, self._replaced
            if self._replaced:
                self.mind, self._coming = self._coming, None
            self._newest, self._anew, self._replaced = None, False, False
            return found

    def _tell(self, look: Look, thought: Thought | None, mouth: "_Mouth | None") -> None:
        message: dict[str, Any] = {
            "type": "look",
            "at_s": look.stamp_s,
            "sharp": look.sharp,
            "sharpness": round(look.sharpness, 3),
            "seen": None,
            "word": None,
        }
        if thought is not None and mouth is not None:
            if thought.speaks:
                word = mouth.word(thought)
                if mouth.new(thought):
                    self.thinks_of(word)
                if mouth.opens(thought, look.stamp_s) and self.speaks:
                    mouth.says(thought, look.stamp_s, word)
                    self.says(word, look.stamp_s)
            message |= mouth.described(thought, look.stamp_s)
        self.told(message)


class _Mouth:
    """Decides when a word is said, by the looks of one generation."""

    def __init__(self, mind: Mind) -> None:
        self.mind = mind
        self.turn = Turn(mind.same)
        self.before: tuple[float, Heard] | None = None  # the last look that knew a word
        self.free_s = -1e9  # until then, the last word is being said
        self.thought_of: int | None = None
        self.told: tuple[float, int, bool] = (-1e9, -1, False)

    def word(self, thought: Thought) -> Word:
        return Word(thought.word, self.mind.voice.sound(thought.clip))

    def new(self, thought: Thought) -> bool:
        """Whether another word is thought of than before."""
        before, self.thought_of = self.thought_of, thought.word
        return before != thought.word

    def opens(self, thought: Thought, at_s: float) -> bool:
        """Whether the word is to be said now: recognised twice, and not said already."""
        clip = self.mind.heard(thought.clip)
        before, self.before = self.before, (at_s, clip)
        if self.turn.goes_on(at_s, clip) or at_s < self.free_s or before is None:
            return False
        return at_s - before[0] <= AGREES_WITHIN_S and self.mind.same(before[1], clip)

    def says(self, thought: Thought, at_s: float, word: Word) -> None:
        self.free_s = at_s + word.seconds
        self.turn.begin(at_s, self.mind.heard(thought.clip))

    def described(self, thought: Thought, at_s: float) -> dict[str, Any]:
        """What a page is told; the remembered moments now and then, and when another word is."""
        told_s, word, says = self.told
        threshold = self.mind.mimic.generation.threshold
        found: dict[str, Any] = {
            "seen": {
                "says": thought.speaks,
                "unsure": certainty(thought.confidence, thought.novelty, threshold) == "unsure",
                "novelty": round(thought.novelty, 4),
                "confidence": round(thought.confidence, 4),
                "threshold": round(threshold, 4),
            },
            "word": thought.word if thought.speaks else None,
        }
        if at_s - told_s >= UNCHANGED_S or (word, says) != (thought.word, thought.speaks):
            self.told = at_s, thought.word, thought.speaks
            found["clip"] = self.mind.remembered_word(thought)
            found["moments"] = self.mind.moments(thought)
        return found
