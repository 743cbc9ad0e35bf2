"""What other thresholds of novelty would have done, from mute to chatty."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from aela.evaluation import score as scores
from aela.storage import read_parquet

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
        labels: see `aela.evaluation.score`; for scoring only, no threshold is chosen by them.
        threshold: the one that speaks.

    Returns:
        MOST_POINTS points, and the one of `threshold`; nothing and None where no video has labels.

    Raises:
        ValueError: as `score`.
    """
    tables = [read_parquet(UPath(path)) for path in predictions]
    values = np.concatenate([table["novelty"].to_numpy() for table in tables])
    if not len(values):
        return [], None
    points = []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.parquet" for number in range(len(tables))]
        for at in [*np.quantile(values, np.linspace(0, 1, MOST_POINTS)), threshold]:
            for table, path in zip(tables, paths, strict=True):
                said = pa.array(table["novelty"].to_numpy() <= at)
                column = table.schema.get_field_index("said")
                pq.write_table(table.set_column(column, "said", said), path)
            found = scores.score(paths, labels, None)["remembered"]
            if found["recall"] is None:
                return [], None
            points.append(Point(float(at), found["precision"], found["recall"]))
    return points[:-1], points[-1]
