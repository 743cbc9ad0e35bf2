"""The remembered words as features, ready to learn from."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from aela.memory.manifest import EmptyMemory, Manifest, rows
from aela.memory.store import from_flac
from aela.speech.mel import log_mel
from aela.storage import Home

COLUMNS = ["start_s", "end_s", "flac", "word_start_s"]


@dataclass(frozen=True)
class Word:
    """One remembered word: where it comes from and its features, float32 [frames, BANDS]."""

    video: str
    start_s: float
    features: np.ndarray


def features_of(clips: pa.Table) -> list[np.ndarray]:
    """Features, each float32 [frames, BANDS], of clips with at least COLUMNS."""
    return [
        log_mel(from_flac(clip["flac"]), clip["word_start_s"], clip["end_s"] - clip["start_s"])
        for clip in clips.select(COLUMNS).to_pylist()
    ]


def remembered_words(home: Home, manifest: Manifest) -> list[Word]:
    """All words of the manifest, in its order.

    Raises:
        EmptyMemory: it holds fewer than two.
    """
    words = [
        Word(video, start_s, features)
        for video, clips in rows(home, manifest, "clip", COLUMNS)
        for start_s, features in zip(clips["start_s"].to_pylist(), features_of(clips), strict=True)
    ]
    if len(words) < 2:
        raise EmptyMemory(
            f"Memory holds {len(words)} spoken words; record at least two to learn from."
        )
    return words
