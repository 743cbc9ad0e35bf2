"""How well a generation agrees with memory, from memory alone: no labels, no text.

Shown a remembered frame, does it think of the word that was heard with it rather than of another
word? Its prediction is compared with the clip of the same moment and with those of other moments,
and what counts is the share of the others that lie farther away: the area under the ROC curve of
telling the own clip from the rest (Hanley, McNeil 1982). Only the order of distances inside one
generation's space counts, so that generations whose spaces differ can be compared. Where all clips
are alike, as in a collapsed space, and where the prediction is the same for all frames or belongs
to other ones, the share is 0.5, whatever the space.

Other clips are those of another word. Somebody who names a thing repeats its word, so that clips of
the same video within APART_S are none; and the same thing is named in other videos. Counting those
as others would favour who learned each video by heart over who learned what they have in common
(measured on ten real things: 0.997 against 0.969, while both told the words apart). So two
stretches of video in which all generations compared hear the same word are not told apart: no
generation can shut out by itself what it confuses.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import stdtrit

from aela.association.associator import load_associator
from aela.association.pairs import read_pairs
from aela.learning import embeddings
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import Manifest
from aela.mimicry.generation import Generation
from aela.storage import Home

CHANCE = 0.5
MOST_VIDEOS = 128  # drawn from those that are shared
MOST_MOMENTS = 2048  # spread evenly over them
APART_S = 30.0  # also the length of the stretches of a video
ALIKE = 0.6  # of two stretches' words: 0 as any two words, 1 as words within one stretch
SURE = 0.975  # that a fall beyond the tolerance is none of the sampling
LEAST_TOLERANCE = 0.02  # what trainings differ by anyway
LEAST_SPREAD = 1e-3  # of cosines: below it, words are all alike


@dataclass(frozen=True)
class Agreement:
    """Of one generation: `share` over all moments, and by video; 0 to 1, by chance 0.5."""

    share: float
    videos: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Two generations on the same `moments`; `tolerance`: how much lower the new one may be."""

    old: Agreement
    new: Agreement
    moments: int
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the new one agrees with memory as well as the old one."""
        return self.new.share >= self.old.share - self.tolerance

    @property
    def worst(self) -> str:
        """The video in which the new one fell most."""
        old = self.old.videos
        return min(self.new.videos, key=lambda video: self.new.videos[video] - old[video])


@dataclass(frozen=True)
class Moments:
    """Clips, each with the frame nearest to it, of some videos.

    Attributes:
        manifest: of these videos.
        video: int [n] their place in it; frame, clip: int [n] rows in the video; start_s: float [n]
            of the clip.
    """

    manifest: Manifest
    video: np.ndarray
    frame: np.ndarray
    clip: np.ndarray
    start_s: np.ndarray

    @property
    def stretch(self) -> np.ndarray:
        """int [n], 0 and on: which moments lie in one stretch of APART_S of one video."""
        place = np.stack([self.video, self.start_s // APART_S], axis=1)
        return np.unique(place, axis=0, return_inverse=True)[1].ravel()

    @property
    def apart(self) -> np.ndarray:
        """bool [n, n]: whether two clips are not of one naming of a thing."""
        near = np.abs(self.start_s[:, None] - self.start_s[None]) < APART_S
        return ~(near & (self.video[:, None] == self.video[None]))

    def take(self, rows: np.ndarray) -> "Moments":
        columns = (self.video, self.frame, self.clip, self.start_s)
        return Moments(self.manifest, *(column[rows] for column in columns))


def agreement(home: Home, generation: Generation) -> tuple[Agreement, int] | None:
    """Of one generation with what it learned from, and the number of moments; None without any."""
    moments, [shares] = _measured(home, generation)
    return (_agreement(moments, shares), len(shares)) if len(shares) else None


def compare(home: Home, old: Generation, new: Generation) -> Comparison | None:
    """Both on the moments that both learned from; None if there are none left.

    The tolerance is what sampling may do to the difference, paired by moment. Looks in one stretch
    of a video are no independent ones, so that the standard error is that of the stretches' sums
    (Liang, Zeger 1986), with Student's quantile for as many as there are. It is at least
    LEAST_TOLERANCE, and beyond that at most half of what the old one is above chance.
    """
    moments, [before, after] = _measured(home, old, new)
    if not len(before):
        return None
    change = after - before
    sums = np.bincount(moments.stretch, change - change.mean())
    freedom = max(len(sums) - 1, 1)
    error = np.sqrt(np.square(sums).sum() * len(sums) / freedom) / len(change)
    sampling = float(min(stdtrit(freedom, SURE) * error, (before.mean() - CHANCE) / 2))
    return Comparison(
        _agreement(moments, before),
        _agreement(moments, after),
        len(change),
        max(LEAST_TOLERANCE, sampling),
    )


def shared(home: Home, *generations: Generation) -> Manifest:
    """The videos that all of them learned from, in the same content, without forgotten ones."""
    first, *others = (manifests.read(home, generation.manifest) for generation in generations)
    held = set(first.entries).intersection(*(manifest.entries for manifest in others))
    kept = manifests.remaining(home, Manifest(tuple(e for e in first.entries if e in held)))
    return Manifest(tuple(e for e in kept.entries if e.frames and e.clips))


def _moments(home: Home, generation: Generation, manifest: Manifest) -> Moments:
    """Moments of some videos of a manifest."""
    pairs = read_pairs(home, generation.pairs).to_pandas()
    named = set(pairs["video"])
    entries = [entry for entry in manifest.entries if entry.video in named]
    drawn = np.sort(np.random.default_rng(0).permutation(len(entries))[:MOST_VIDEOS])
    sample = Manifest(tuple(entries[index] for index in drawn))
    nearest = pairs.sort_values("distance_s", kind="stable").drop_duplicates(["video", "clip"])
    by_video = dict(iter(nearest.sort_values("clip").groupby("video")))
    columns: list[list[np.ndarray]] = [[], [], [], []]
    for place, entry in enumerate(sample.entries):
        manifests.check(home, entry)
        rows = by_video[entry.video]
        few = np.linspace(0, len(rows) - 1, min(len(rows), MOST_MOMENTS // len(drawn)))
        rows = rows.iloc[np.unique(few.round().astype(int))]
        starts_s = store.read_clips(home, entry.video, ["start_s"])["start_s"].to_numpy()
        clip = rows["clip"].to_numpy()
        values = (np.full(len(rows), place), rows["frame"].to_numpy(), clip, starts_s[clip])
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    return Moments(sample, *(np.concatenate(c) if c else np.zeros(0, int) for c in columns))


def _measured(home: Home, *generations: Generation) -> tuple[Moments, list[np.ndarray]]:
    """The moments that all generations share and that there is another word to tell from, and for
    each generation the share [n] of other words farther from its prediction than the own."""
    moments = _moments(home, generations[-1], shared(home, *generations))
    if not len(moments.clip):
        return moments, [np.zeros(0) for _ in generations]
    spaces = [_space(home, generation, moments) for generation in generations]
    one_word = np.all([_one_word(heard @ heard.T, moments) for _, heard in spaces], axis=0)
    stretch = moments.stretch
    other = moments.apart & ~one_word[stretch[:, None], stretch[None]]
    rows = np.flatnonzero(other.any(axis=1))
    shares = []
    for said, heard in spaces:
        likeness = said @ heard.T
        own = np.diag(likeness)[:, None]
        farther = ((likeness < own) + 0.5 * (likeness == own)) * other
        shares.append(farther[rows].sum(axis=1) / other[rows].sum(axis=1))
    return moments.take(rows), shares


def _space(home: Home, generation: Generation, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """What a generation predicts for the frames and hears in the clips of moments: unit vectors
    [n, w] in the space in which it recalls."""
    images, frames = embeddings.gather(home, generation.image_encoder, moments.manifest, "frame")
    words, clips = embeddings.gather(home, generation.word_autoencoder, moments.manifest, "clip")
    videos = [entry.video for entry in moments.manifest.entries]
    first_frame = np.array([frames[video] for video in videos])[moments.video]
    first_clip = np.array([clips[video] for video in videos])[moments.video]
    associator = load_associator(home, generation.associator)
    with torch.inference_mode():
        seen = torch.from_numpy(images[first_frame + moments.frame])
        heard = torch.from_numpy(words[first_clip + moments.clip])
        said = associator.standard_words(associator(seen)).numpy()
        heard = associator.standard_words(heard).numpy()
    return embeddings.unit(said), embeddings.unit(heard)


def _one_word(likeness: np.ndarray, moments: Moments) -> np.ndarray:
    """bool [stretches, stretches]: where two stretches hold one word, as far as their clips'
    likeness [n, n] tells: it is on average nearly what it is within each of them."""
    apart, stretch = moments.apart, moments.stretch
    within = (stretch[:, None] == stretch[None]) & ~np.eye(len(stretch), dtype=bool)
    if not (apart.any() and within.any()):
        return np.zeros((stretch.max() + 1,) * 2, dtype=bool)
    member = np.eye(stretch.max() + 1)[stretch]
    between = _mean(member.T @ likeness @ member, member.T @ np.ones_like(likeness) @ member)
    inside = _mean(
        np.bincount(stretch, (likeness * within).sum(1)), np.bincount(stretch, within.sum(1))
    )
    inside = np.where(np.isnan(inside), np.nanmean(inside), inside)  # of a single clip
    any_two = likeness[apart].mean()
    spread = (inside[:, None] + inside[None]) / 2 - any_two
    return (spread > LEAST_SPREAD) & (between - any_two > ALIKE * spread)


def _mean(sums: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)


def _agreement(moments: Moments, shares: np.ndarray) -> Agreement:
    videos = {
        moments.manifest.entries[place].video: float(shares[moments.video == place].mean())
        for place in np.unique(moments.video)
    }
    return Agreement(float(shares.mean()), videos)
