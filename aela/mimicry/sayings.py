"""When a word is said: once, when it is first recognised, not again while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np

from aela.capture import SAMPLE_RATE_HZ
from aela.memory import store
from aela.memory.videos import UnknownVideo
from aela.storage import Home

SAME_WORD_S = 2.5  # a word that is still being recognised is not said again
SAME_WORD = 0.2  # warped distance; 95 % of equal words are nearer, 95 % of others farther
LATEST_S = 1.0  # a word that had to wait longer for the last one to end is not said
MOST_HEARD = 4096  # clips whose cepstra, and pairs of clips whose likeness, are kept in mind

Heard = tuple[str, float]  # a remembered clip: its video, and where in it the word starts


@dataclass(frozen=True)
class Saying:
    """A sound, float32 mono [n] at 44.1 kHz, and when it is said."""

    start_s: float
    samples: np.ndarray


def sayings(rows: list[dict[str, Any]], home: Home) -> list[Saying]:
    """What is said and when: each word once, as long as it goes on, none over another."""
    turn = Turn(Words(home).same)
    said: list[Saying] = []
    free_s = 0.0
    for row in rows:
        if not row["said"] or row["sound"] is None:
            continue
        time_s, clip = row["time_s"], (row["clip_video"], row["clip_start_s"])
        if turn.goes_on(time_s, clip) or free_s - time_s > LATEST_S:
            continue
        start_s = max(time_s, free_s)
        said.append(Saying(start_s, store.from_flac((home.root / row["sound"]).read_bytes())))
        free_s = start_s + len(said[-1].samples) / SAMPLE_RATE_HZ
        turn.begin(time_s, clip)
    return said


class Turn:
    """Which word goes on being recognised, by the remembered clips that are thought of."""

    def __init__(self, same: Callable[[Heard, Heard], bool]) -> None:
        """`same` tells whether two remembered clips say the same."""
        self.same = same
        self.last: tuple[float, Heard] | None = None

    def goes_on(self, time_s: float, clip: Heard) -> bool:
        """Whether what is recognised now is still the word that was said last."""
        if self.last is None:
            return False
        last_s, last = self.last
        if time_s - last_s > SAME_WORD_S or not self.same(last, clip):
            return False
        self.last = time_s, clip
        return True

    def begin(self, time_s: float, clip: Heard) -> None:
        """A word is said."""
        self.last = time_s, clip


class Words:
    """Tells by ear alone whether two remembered clips say the same."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.heard: dict[Heard, np.ndarray] = {}
        self.compared: dict[tuple[Heard, Heard], bool] = {}

    def same(self, one: Heard, other: Heard) -> bool:
        """By dynamic time warping over cepstra."""
        if one == other:
            return True
        pair = min(one, other), max(one, other)
        if pair not in self.compared:
            a, b = self._cepstra(one), self._cepstra(other)
            costs = librosa.sequence.dtw(a, b, metric="cosine", backtrack=False)
            distance = np.asarray(costs)[-1, -1] / (a.shape[1] + b.shape[1])
            _bounded(self.compared)[pair] = bool(distance < SAME_WORD)
        return self.compared[pair]

    def same_answer(self, one: Heard | None, other: Heard | None) -> bool:
        """The same of two answers, None being silence; a forgotten clip is only itself."""
        if one == other or one is None or other is None:
            return one == other
        try:
            return self.same(one, other)
        except UnknownVideo:
            return False

    def listen(self, clip: Heard) -> None:
        """Hear a remembered clip now, so that comparing it later costs less."""
        self._cepstra(clip)

    def _cepstra(self, clip: Heard) -> np.ndarray:
        """[coefficients, frames] of a clip, without its mean."""
        if clip not in self.heard:
            video, start_s = clip
            row = store.nearest(self.home, video, "clip", start_s)
            start = round(row["word_start_s"] * SAMPLE_RATE_HZ)
            length = round((row["end_s"] - row["start_s"]) * SAMPLE_RATE_HZ)
            cepstra = librosa.feature.mfcc(
                y=store.from_flac(row["flac"])[start : start + length],
                sr=SAMPLE_RATE_HZ,
                n_mfcc=13,
                n_fft=1024,
                hop_length=882,
                n_mels=40,
                fmax=8000,
            )
            _bounded(self.heard)[clip] = cepstra - cepstra.mean(axis=1, keepdims=True)
        return self.heard[clip]


def _bounded(kept: dict[Any, Any]) -> dict[Any, Any]:
    """The same, without its oldest entry if it is full."""
    if len(kept) >= MOST_HEARD:
        del kept[next(iter(kept))]
    return kept
