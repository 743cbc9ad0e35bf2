"""One generation as it looks at a live picture and speaks at once."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aela.live.voice import Voice
from aela.memory import videos
from aela.memory.videos import UnknownVideo
from aela.mimicry.recall import Mimic, rows_within
from aela.mimicry.sayings import Heard, Words
from aela.storage import Home

SHOWN_MOMENTS = 4
MOST_APART_S = 5.0  # between a remembered frame and the clip that is shown with it


@dataclass(frozen=True)
class Thought:
    """What one look brings to mind.

    Attributes:
        speaks: it is known well enough.
        clip: row of the remembered clip; word: a number for its sound, which no other has.
        frames, similarity: rows of the nearest remembered frames, and how near.
    """

    speaks: bool
    novelty: float
    confidence: float
    clip: int
    word: int
    frames: list[int]
    similarity: list[float]


class Mind:
    """Looks at pictures one after the other, each in the light of those just before.

    `first_word` is the number of the first remembered clip's sound; `last_word` of the last one.
    """

    def __init__(self, home: Home, mimic: Mimic, first_word: int) -> None:
        self.home, self.mimic = home, mimic
        self.voice, self.words = Voice(mimic), Words(home)
        self.first_word = first_word
        self.seen: deque[tuple[float, np.ndarray]] = deque()
        memory = mimic.remembering
        self.frame_rows = rows_within(memory.frame_videos)
        self.clip_rows = rows_within(memory.clip_videos)
        self.added: dict[str, str | None] = {}

    @property
    def last_word(self) -> int:
        return self.first_word + len(self.mimic.remembering.words) - 1

    def look(self, jpeg: bytes, before: bytes, after: bytes, time_s: float) -> Thought:
        """What a picture brings to mind.

        Args:
            jpeg: the picture; before, after: small ones, of shortly before and after it.
            time_s: when it was taken; rising, until `start_anew`.
        """
        columns = {"jpeg": [jpeg], "before": [before], "after": [after]}
        [image] = self.mimic.encoder.embed(pa.table(columns))
        self.seen.append((time_s, image))
        while time_s - self.seen[0][0] > self.mimic.settings.steady_s:
            self.seen.popleft()
        times_s, images = zip(*self.seen, strict=True)
        found = self.mimic.recall(np.stack(images), np.array(times_s))
        novelty, clip = float(found.novelty[-1]), int(found.clips[-1])
        return Thought(
            novelty <= self.mimic.generation.threshold,
            novelty,
            float(found.confidence[-1]),
            clip,
            self.first_word + clip,
            found.frames[-1, :SHOWN_MOMENTS].tolist(),
            found.similarity[-1, :SHOWN_MOMENTS].tolist(),
        )

    def prepare(self) -> Iterator[int]:
        """Makes and hears ahead of time the words that it will think of most, one at each step."""
        for clip in self.voice.prepare():
            with suppress(UnknownVideo):  # It was forgotten meanwhile.
                self.words.listen(self.heard(clip))
            yield clip

    def start_anew(self) -> None:
        """What was seen just before counts no more."""
        self.seen.clear()

    def heard(self, clip: int) -> Heard:
        """The remembered clip in that row."""
        memory = self.mimic.remembering
        return str(memory.clip_videos[clip]), float(memory.clip_starts_s[clip])

    def same(self, one: Heard, other: Heard) -> bool:
        """Whether two remembered clips say the same; not, where one was forgotten meanwhile."""
        try:
            return self.words.same(one, other)
        except UnknownVideo:
            return False

    def moments(self, thought: Thought) -> list[dict[str, Any]]:
        """The remembered moments that a thought leans on, as a page shows them."""
        memory, shown = self.mimic.remembering, []
        for frame, similarity in zip(thought.frames, thought.similarity, strict=True):
            video, time_s = str(memory.frame_videos[frame]), float(memory.frame_times_s[frame])
            shown.append(
                {
                    "video": video,
                    "time_s": round(time_s, 2),
                    "when": self._when(video),
                    "picture": f"/moments/frame/{video}/{self.frame_rows[frame]}",
                    "sound": self._sound_near(video, time_s),
                    "similarity": round(similarity, 3),
                }
            )
        return shown

    def remembered_word(self, thought: Thought) -> dict[str, Any]:
        """The remembered clip whose word a thought is, as a page shows it."""
        video, start_s = self.heard(thought.clip)
        return {
            "video": video,
            "time_s": round(start_s, 2),
            "sound": f"/moments/clip/{video}/{self.clip_rows[thought.clip]}",
        }

    def _sound_near(self, video: str, time_s: float) -> str | None:
        """The clip that was heard with a remembered frame."""
        memory = self.mimic.remembering
        rows = np.flatnonzero(memory.clip_videos == video)
        if not len(rows):
            return None
        middles = (memory.clip_starts_s[rows] + memory.clip_ends_s[rows]) / 2
        nearest = int(np.abs(middles - time_s).argmin())
        if abs(middles[nearest] - time_s) > MOST_APART_S:
            return None
        return f"/moments/clip/{video}/{self.clip_rows[rows[nearest]]}"

    def _when(self, video: str) -> str | None:
        if video not in self.added:
            try:
                self.added[video] = videos.find(self.home, video).added
            except UnknownVideo:
                self.added[video] = None
        return self.added[video]
