"""What can be measured without labels: sign accuracy and distances, on memory and what is watched.

The moments of `watch` videos are the test set: what is seen there and what is said with it were
trained on by no model. A moment is measured as a clip and the frame nearest to it in time: a second
after a thing's name, the next thing may be in view already.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from aela.association.pairs import video_pairs
from aela.evaluation.pictures import evenly
from aela.evaluation.signs import SignAccuracy, sign_accuracy
from aela.learning import embeddings
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import EmptyMemory, Entry, Manifest
from aela.mimicry.recall import Mimic
from aela.storage import Home

MOST_IN_MATRIX = 150  # rows of each part of a distance matrix


@dataclass(frozen=True)
class Moments:
    """Frames and clips that belong together: image [n, d], word [n, w], predicted word [n, w].

    `places` tells of which video and rows: a frame's and a clip's.
    """

    images: np.ndarray
    words: np.ndarray
    predicted: np.ndarray
    places: list[tuple[str, int, int]]

    def take(self, rows: list[int]) -> "Moments":
        places = [self.places[row] for row in rows]
        return Moments(self.images[rows], self.words[rows], self.predicted[rows], places)


@dataclass(frozen=True)
class Evaluation:
    """Sign accuracies by part ("train", and "test" if anything was watched that is named), and
    cosine distances [n, n] by sense ("image", "word", "predicted") of `moments`, the first `train`
    of which are remembered. They stand in one order, by the words heard: alike next to alike, and
    what was watched in the order of the remembered word that it sounds like. `watched` are the
    videos that were, of which there are embeddings now."""

    sign_accuracy: dict[str, SignAccuracy]
    distances: dict[str, np.ndarray]
    moments: Moments
    train: int
    watched: list[str]

    def metrics(self) -> dict[str, Any]:
        """The numbers as plain JSON values."""
        return {"sign_accuracy": {part: asdict(v) for part, v in self.sign_accuracy.items()}}


def evaluate(home: Home, mimic: Mimic, window_s: float) -> Evaluation:
    """Measure one generation on the moments of its memory and of the watched videos.

    Args:
        window_s: how far apart a frame and a clip of one moment are at most.

    Raises:
        EmptyMemory: there are no moments.
    """
    learned = manifests.remaining(home, manifests.read(home, mimic.generation.manifest))
    watched = Manifest(
        tuple(
            Entry(e.video, e.content, e.frames, e.clips)
            for e in store.remembered(home, role="watch")
            if "learn" not in e.roles
        )
    )
    generation = mimic.generation
    embeddings.refresh(home, generation.image_encoder, watched, "frame", mimic.encoder.embed)
    embeddings.refresh(home, generation.word_autoencoder, watched, "clip", mimic.speech.embed)
    parts = {
        "train": _moments(home, mimic, learned, window_s),
        "test": _moments(home, mimic, watched, window_s),
    }
    parts = {name: moments for name, moments in parts.items() if len(moments.images)}
    if not parts:
        raise EmptyMemory("No frame lies close to a spoken word; add videos that show and name.")
    remembered = mimic.remembering.words
    mean = remembered.mean(axis=0)
    accuracies = {
        name: sign_accuracy(moments.predicted, moments.words, remembered)
        for name, moments in parts.items()
        if len(moments.images) > 1
    }
    shown = [part.take(evenly(len(part.images), MOST_IN_MATRIX)) for part in parts.values()]
    train = len(shown[0].images) if "train" in parts else 0
    moments = _together(shown)
    senses = {
        "image": _cosine_distances(moments.images),
        "word": _cosine_distances(moments.words - mean),
        "predicted": _cosine_distances(moments.predicted - mean),
    }
    order = _by_sound(senses["word"], train)
    distances = {sense: values[np.ix_(order, order)] for sense, values in senses.items()}
    watched_videos = [e.video for e in watched.entries]
    return Evaluation(accuracies, distances, moments.take(order.tolist()), train, watched_videos)


def _together(parts: list[Moments]) -> Moments:
    return Moments(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.words for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        [place for part in parts for place in part.places],
    )


def _moments(home: Home, mimic: Mimic, manifest: Manifest, window_s: float) -> Moments:
    generation = mimic.generation
    images, words, places = [], [], []
    entries = [entry for entry in manifest.entries if entry.frames and entry.clips]
    seen = embeddings.find(home, generation.image_encoder, entries)
    heard = embeddings.find(home, generation.word_autoencoder, entries, "clip")
    for entry, looks, sounds in zip(entries, seen, heard, strict=True):
        if looks is None or sounds is None:  # Captured anew since.
            continue
        frame, clip, distance_s = video_pairs(home, entry.video, window_s)
        nearest = np.lexsort((distance_s, clip))
        nearest = nearest[np.unique(clip[nearest], return_index=True)[1]]
        frame, clip = frame[nearest], clip[nearest]
        images.append(looks[frame])
        words.append(sounds[clip])
        rows = zip(frame.tolist(), clip.tolist(), strict=True)
        places += [(entry.video, *row) for row in rows]
    if not images:
        nothing = np.zeros((0, 1), np.float32)
        return Moments(nothing, nothing, nothing, [])
    together = np.concatenate(images)
    with torch.inference_mode():
        predicted = mimic.associator(torch.from_numpy(together).to(mimic.device)).cpu().numpy()
    return Moments(together, np.concatenate(words), predicted, places)


def _by_sound(distances: np.ndarray, train: int) -> np.ndarray:
    """An order of rows by their distances [n, n] as heard, the first `train` staying in front."""
    if min(train, len(distances)) < 2:
        return np.arange(len(distances))
    among = distances[:train, :train].clip(min=0)
    np.fill_diagonal(among, 0)
    tree = linkage(squareform(among, checks=False), "average", optimal_ordering=True)
    known = leaves_list(tree)
    nearest = distances[train:][:, known].argmin(axis=1)
    return np.concatenate([known, train + np.argsort(nearest, kind="stable")])


def _cosine_distances(values: np.ndarray) -> np.ndarray:
    directions = embeddings.unit(values)
    return 1 - directions @ directions.T
