"""The remembered words as features, ready to learn from."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.signal import resample_poly

from aela.capture import SAMPLE_RATE_HZ
from aela.memory.manifest import EmptyMemory, Manifest, rows
from aela.memory.store import from_flac
from aela.speech.mel import log_mel
from aela.storage import Home

COLUMNS = ["start_s", "end_s", "flac", "word_start_s"]
LISTENING_HZ = 16_000  # sample rate that is enough to tell words apart


@dataclass(frozen=True)
class Word:
    """One remembered word.

    Attributes:
        video, start_s: where it comes from.
        features: float32 [frames, BANDS].
        sound: the word alone, float32 mono [n] at LISTENING_HZ.
    """

    video: str
    start_s: float
    features: np.ndarray
    sound: np.ndarray


def features_of(clips: pa.Table) -> list[np.ndarray]:
    """Features, each float32 [frames, BANDS], of clips with at least COLUMNS."""
    return [
        log_mel(from_flac(clip["flac"]), clip["word_start_s"], clip["end_s"] - clip["start_s"])
        for clip in clips.select(COLUMNS).to_pylist()
    ]


def _word(video: str, clip: dict[str, Any]) -> Word:
    samples = from_flac(clip["flac"])
    start_s, seconds = clip["word_start_s"], clip["end_s"] - clip["start_s"]
    first = round(start_s * SAMPLE_RATE_HZ)
    said = samples[first : first + max(1, round(seconds * SAMPLE_RATE_HZ))]
    divisor = math.gcd(SAMPLE_RATE_HZ, LISTENING_HZ)
    sound = resample_poly(said, LISTENING_HZ // divisor, SAMPLE_RATE_HZ // divisor)
    return Word(video, clip["start_s"], log_mel(samples, start_s, seconds), sound)


def remembered_words(home: Home, manifest: Manifest) -> list[Word]:
    """All words of the manifest, in its order.

    Raises:
        EmptyMemory: it holds fewer than two.
    """
    words = [
        _word(video, clip)
        for video, clips in rows(home, manifest, "clip", COLUMNS)
        for clip in clips.to_pylist()
    ]
    if len(words) < 2:
        raise EmptyMemory(
            f"Memory holds {len(words)} spoken words; record at least two to learn from."
        )
    return words
