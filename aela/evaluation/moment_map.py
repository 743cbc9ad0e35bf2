"""Moments laid out on a plane, so that those lie near each other that are alike to the system."""

from dataclasses import dataclass

import numpy as np

from aela.evaluation.evaluate import Evaluation
from aela.evaluation.vocabulary import Vocabulary
from aela.evaluation.window import place
from aela.memory import store
from aela.storage import Home

PERPLEXITY = 30.0
LEAST = 5  # moments


@dataclass(frozen=True)
class MappedMoment:
    """A frame and the clip heard with it, and where it lies.

    Attributes:
        picture: JPEG; clip: mono samples [n] at 44.1 kHz.
        word: the number of the word that is heard; watched: whether it was only watched.
        places: x and y by sense ("image", "word", "predicted"), 0 to 1.
    """

    name: str
    picture: bytes
    clip: np.ndarray
    word: int
    watched: bool
    places: dict[str, tuple[float, float]]


def map_moments(home: Home, evaluation: Evaluation, vocabulary: Vocabulary) -> list[MappedMoment]:
    """The moments of an evaluation's distances; none where there are too few for a map."""
    moments = evaluation.moments
    if len(moments.places) < LEAST:
        return []
    layouts = {sense: laid_out(values) for sense, values in evaluation.distances.items()}
    nearest = vocabulary.of(moments.words)
    mapped = []
    for row, (video, frame, clip) in enumerate(moments.places):
        heard = store.read_row(home, video, "clip", clip, ["start_s", "flac"])
        mapped.append(
            MappedMoment(
                place(video, heard["start_s"]),
                store.read_row(home, video, "frame", frame, ["jpeg"])["jpeg"],
                store.from_flac(heard["flac"]),
                vocabulary.of_clips.get((video, clip), int(nearest[row])),
                row >= evaluation.train,
                {sense: (float(xy[row, 0]), float(xy[row, 1])) for sense, xy in layouts.items()},
            )
        )
    return mapped


def laid_out(distances: np.ndarray) -> np.ndarray:
    """Places [n, 2], 0 to 1, for distances [n, n] (t-SNE: van der Maaten, Hinton 2008)."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    n = len(distances)
    layout = TSNE(
        perplexity=min(PERPLEXITY, (n - 1) / 3), metric="precomputed", init="random", random_state=0
    )
    # On a busy machine, waiting for each other costs its threads 15 times what they gain.
    with threadpool_limits(1):
        places = layout.fit_transform(distances.clip(min=0))
    return (places - places.min(axis=0)) / np.maximum(np.ptp(places, axis=0), 1e-9)
