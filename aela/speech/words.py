"""The remembered words as features, ready to learn from."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.signal import resample_poly

from aela.capture import SAMPLE_RATE_HZ
from aela.learning import rounds
from aela.learning.checkpoints import Checkpoint
from aela.memory import manifest as manifests
from aela.memory.manifest import EmptyMemory, Entry, Manifest, rows
from aela.memory.store import from_flac
from aela.speech.mel import log_mel
from aela.speech.settings import MelAutoencoderSettings, WordAutoencoderSettings
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
    words = [word for entry in manifest.entries for word in words_of(home, entry)]
    if len(words) < 2:
        raise EmptyMemory(
            f"Memory holds {len(words)} spoken words; record at least two to learn from."
        )
    return words


@dataclass(frozen=True)
class Lesson:
    """The words of one training, new ones first.

    Attributes:
        words: what is learned from.
        chances: float [words], how likely each is drawn into a batch.
        new: how many are new; all of them without a parent.
        remembered: the number of new words in memory, of which these are the ones loaded.
        again: the entries that old words are of, with the numbers of their clips, in order.
    """

    words: list[Word]
    chances: np.ndarray
    new: int
    remembered: int
    again: list[tuple[Entry, np.ndarray]]


def lesson(
    home: Home,
    manifest: Manifest,
    parent: Checkpoint | None,
    settings: MelAutoencoderSettings | WordAutoencoderSettings,
    rng: np.random.Generator,
) -> Lesson:
    """At most `clips_most` new words of a manifest, and at most `replayed` that `parent` knows,
    both drawn evenly.

    Raises:
        EmptyMemory: there are fewer than two.
    """
    known = rounds.known_to(home, parent)
    new = [entry for entry in manifest.entries if entry not in known]
    old = [entry for entry in manifest.entries if entry in known]
    remembered, rest = sum(entry.clips for entry in new), sum(entry.clips for entry in old)
    learned = np.arange(remembered)
    if remembered > settings.clips_most:  # Else no draw, as older checkpoints made none.
        learned = rounds.replayed(remembered, settings.clips_most, rng)
    again = manifests.by_video(old, "clip", rounds.replayed(rest, settings.replayed, rng))
    words = [
        word
        for entry, clips in [*manifests.by_video(new, "clip", learned), *again]
        for word in words_of(home, entry, clips.tolist())
    ]
    if len(words) < 2:
        raise EmptyMemory(
            f"Memory holds {len(words)} spoken words to learn from; record at least two."
        )
    chances = rounds.balanced(np.arange(len(learned)), np.arange(len(learned), len(words)))
    return Lesson(words, chances, len(learned), remembered, again)


def words_of(home: Home, entry: Entry, some: list[int] | None = None) -> Iterator[Word]:
    """The words of one video: all, or those of some of its clips, by number."""
    for video, clips in rows(home, Manifest((entry,)), "clip", COLUMNS):
        for clip in (clips if some is None else clips.take(some)).to_pylist():
            yield _word(video, clip)
