"""How loud it is now, how loud the background is, and whether a word is under way.

For people to look at while they speak; what is remembered is decided later and with more care, by
`aela.capture.hearing`.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

STEP_S = 0.1
REMEMBERED_S = 10.0
FLOOR_SHARE = 0.25  # the background: this share of the last levels lies below it
BEGINS_DB, LASTS_DB = 10.0, 6.0  # above the background
SILENCE_DB = -90.0
LEAST_DB = -55.0  # of a word


@dataclass(frozen=True)
class Level:
    """One step: when it ended by the source's clock, and levels in dB relative to full scale."""

    at_s: float
    level_db: float
    floor_db: float
    word: bool


class LevelMeter:
    """Takes sound in pieces of any size and gives a level each tenth of a second."""

    def __init__(self) -> None:
        self.energy, self.samples = 0.0, 0
        self.levels: deque[float] = deque(maxlen=round(REMEMBERED_S / STEP_S))
        self.word = False
        self.last_word_s = -np.inf
        """When a word was last under way, by the source's clock."""

    def push(self, stamp_s: float, samples: np.ndarray, rate_hz: int) -> list[Level]:
        """Takes float32 mono samples [n] in [-1, 1], the first of which was heard at stamp_s."""
        levels, step = [], max(1, round(STEP_S * rate_hz))
        taken = 0
        while taken < len(samples):
            piece = samples[taken : taken + step - self.samples]
            taken += len(piece)
            self.energy += float(np.square(piece).sum())
            self.samples += len(piece)
            if self.samples >= step:
                levels.append(self._step(stamp_s + taken / rate_hz))
        return levels

    def _step(self, at_s: float) -> Level:
        level_db = 10 * np.log10(self.energy / self.samples + 10 ** (SILENCE_DB / 10))
        self.energy, self.samples = 0.0, 0
        self.levels.append(level_db)
        floor_db = float(np.quantile(self.levels, FLOOR_SHARE))
        above_db = LASTS_DB if self.word else BEGINS_DB
        self.word = bool(level_db > max(floor_db + above_db, LEAST_DB))
        if self.word:
            self.last_word_s = at_s
        return Level(round(at_s, 3), round(float(level_db), 1), round(floor_db, 1), self.word)
