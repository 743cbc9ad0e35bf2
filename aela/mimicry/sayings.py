"""What is said aloud to a video and when: each word once, as long as it goes on."""

from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np

from aela.capture import SAMPLE_RATE_HZ
from aela.memory import store
from aela.storage import Home

SAME_WORD_S = 2.5  # a word that is still being recognised is not said again
SAME_WORD = 0.2  # warped distance; 95 % of equal words are nearer, 95 % of others farther
LATEST_S = 1.0  # a word that had to wait longer for the last one to end is not said


@dataclass(frozen=True)
class Saying:
    """A sound, float32 mono [n] at 44.1 kHz, and when it is said."""

    start_s: float
    samples: np.ndarray


def sayings(rows: list[dict[str, Any]], home: Home) -> list[Saying]:
    """What is said and when: each word once, as long as it goes on, none over another."""
    words = _Words(home)
    said: list[Saying] = []
    last: dict[str, Any] | None = None
    free_s = 0.0
    for row in rows:
        if not row["said"] or row["sound"] is None:
            continue
        time_s = row["time_s"]
        if last and time_s - last["time_s"] <= SAME_WORD_S and words.same(last, row):
            last = row
            continue
        if free_s - time_s > LATEST_S:
            continue
        start_s = max(time_s, free_s)
        said.append(Saying(start_s, store.from_flac((home.root / row["sound"]).read_bytes())))
        free_s = start_s + len(said[-1].samples) / SAMPLE_RATE_HZ
        last = row
    return said


class _Words:
    """Tells by ear alone whether two remembered clips say the same."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.heard: dict[tuple[str, float], np.ndarray] = {}

    def same(self, one: dict[str, Any], other: dict[str, Any]) -> bool:
        """By dynamic time warping over cepstra, between the nearest clips of two predictions."""
        a, b = self._cepstra(one), self._cepstra(other)
        costs = librosa.sequence.dtw(a, b, metric="cosine", backtrack=False)
        return bool(np.asarray(costs)[-1, -1] / (a.shape[1] + b.shape[1]) < SAME_WORD)

    def _cepstra(self, row: dict[str, Any]) -> np.ndarray:
        """[coefficients, frames] of the clip that a prediction leans on, without its mean."""
        key = (row["clip_video"], row["clip_start_s"])
        if key not in self.heard:
            starts = store.read_clips(self.home, key[0], ["start_s"])["start_s"].to_numpy()
            clip = store.read_row(self.home, key[0], "clip", int(np.abs(starts - key[1]).argmin()))
            start = round(clip["word_start_s"] * SAMPLE_RATE_HZ)
            length = round((clip["end_s"] - clip["start_s"]) * SAMPLE_RATE_HZ)
            cepstra = librosa.feature.mfcc(
                y=store.from_flac(clip["flac"])[start : start + length],
                sr=SAMPLE_RATE_HZ,
                n_mfcc=13,
                n_fft=1024,
                hop_length=882,
                n_mels=40,
                fmax=8000,
            )
            self.heard[key] = cepstra - cepstra.mean(axis=1, keepdims=True)
        return self.heard[key]
