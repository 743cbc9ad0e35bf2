"""Several looks at a thing are one: what was seen just before counts as far as it looks alike."""

import numpy as np


def steadied(
    values: np.ndarray, images: np.ndarray, times_s: np.ndarray, within_s: float
) -> np.ndarray:
    """Average what frames of one video bring to mind with what the frames just before did.

    A bilateral filter over time (Tomasi, Manduchi 1998, section 2) that never looks ahead: weights
    are the cosines of the image embeddings, so that another thing in view starts anew.

    Args:
        values: float [n, v], one row for each frame.
        images: float [n, d], their embeddings of unit length.
        times_s: float [n], rising.
        within_s: frames at most so many seconds earlier count.

    Returns:
        [n, v].
    """
    first = np.searchsorted(times_s, times_s - within_s)
    rows = []
    for row, start in enumerate(first):
        weights = (images[start : row + 1] @ images[row]).clip(min=0)
        rows.append(weights @ values[start : row + 1] / weights.sum())
    return np.stack(rows).astype(values.dtype) if rows else values
