"""When it stays silent: how novel remembered things, bare ground and watched pictures are to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aela.mimicry.novelty import ground_met_anew, met_anew
from aela.mimicry.recall import Mimic

MOST_SHOWN = 12
APART_S = 5.0  # between two shown looks at one video


@dataclass(frozen=True)
class Novelties:
    """Novelty, 0 to 1, by what it is of [n]; above `threshold` it stays silent."""

    threshold: float
    values: dict[str, np.ndarray]


def novelties(mimic: Mimic, looks: Mapping[str, list[dict[str, Any]]]) -> Novelties:
    """Of remembered frames and of the ground beside them, as if met anew, and of watched looks.

    Args:
        looks: prediction tables by video.
    """
    memory, settings = mimic.remembering, mimic.settings
    values = {
        "remembered things, met anew": met_anew(
            memory.images, memory.ground, memory.frame_times_s, memory.frame_videos, settings
        ),
        "what lay beside them, met anew": ground_met_anew(
            memory.images,
            memory.frame_videos,
            memory.ground,
            memory.ground_videos,
            settings.neighbours,
        ),
        "looks at watched videos": np.array(
            [row["novelty"] for rows in looks.values() for row in rows]
        ),
    }
    there = {name: values for name, values in values.items() if len(values)}
    return Novelties(mimic.generation.threshold, there)


def most_novel(looks: Mapping[str, list[dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The looks that it was silent at, the most novel first, none soon after another: video and
    row of its prediction table."""
    silent = [(video, row) for video, rows in looks.items() for row in rows if not row["said"]]
    chosen: list[tuple[str, dict[str, Any]]] = []
    for video, row in sorted(silent, key=lambda look: -look[1]["novelty"]):
        near = any(
            video == other and abs(row["time_s"] - known["time_s"]) < APART_S
            for other, known in chosen
        )
        if not near:
            chosen.append((video, row))
        if len(chosen) == MOST_SHOWN:
            break
    return chosen
