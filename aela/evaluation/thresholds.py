"""What other thresholds of novelty would have done, from mute to chatty."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from upath import UPath

from aela.evaluation.labels import Labels
from aela.evaluation.score import REMEMBERED, Watched, by_words, matched

MOST_POINTS = 40


@dataclass(frozen=True)
class Point:
    """`precision` and `recall` as `score` defines them, if it spoke up to this novelty.

    `precision` is None where nothing is said.
    """

    threshold: float
    precision: float | None
    recall: float


def precision_recall(
    predictions: Sequence[Path | UPath], labels: Any, threshold: float
) -> tuple[list[Point], Point | None]:
    """The score of prediction tables at thresholds from their least to their greatest novelty.

    Args:
        labels: see `aela.evaluation.labels`; for scoring only, no threshold is chosen by them.
        threshold: the one that speaks.

    Returns:
        MOST_POINTS points, and the one of `threshold`; nothing and None where no video has labels.

    Raises:
        ValueError: as `score`.
    """
    watched, _ = matched(predictions, Labels(labels))
    values = [answer.novelty for video in watched for answer in video.answers]
    if not values:
        return [], None
    points = []
    for at in [*np.quantile(values, np.linspace(0, 1, MOST_POINTS)), threshold]:
        found = by_words([_spoken(video, at) for video in watched], REMEMBERED)
        if found["recall"] is None:
            return [], None
        points.append(Point(float(at), found["precision"], found["recall"]))
    return points[:-1], points[-1]


def _spoken(video: Watched, threshold: float) -> Watched:
    """The answers as they would have been with another threshold."""
    answers = [replace(one, said=one.novelty <= threshold) for one in video.answers]
    return replace(video, answers=answers)
