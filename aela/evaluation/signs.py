"""Sign accuracy of word embeddings (AELA0), beside the baselines without which it misleads."""

from dataclasses import dataclass

import numpy as np

SHUFFLES = 20


@dataclass(frozen=True)
class SignAccuracy:
    """Share of values, 0 to 1, whose sign is predicted right.

    Where all codes have a mean in common, predicting nothing but that mean scores high. What was
    learned is `raw` above `constant_mean` and `shuffled`, or `centred` above `constant_centred` and
    `shuffled_centred`.
    """

    raw: float
    """The article's figure."""
    centred: float
    """The same once the mean of the training codes was taken from predictions and truth."""
    constant_mean: float
    """A predictor that always gives the mean of the training codes, raw."""
    constant_centred: float
    """A predictor that always gives the more frequent sign of each value, centred."""
    shuffled: float
    """The predictions given to other items than their own, raw; mean over shuffles."""
    shuffled_spread: float
    """Standard deviation of that over the shuffles."""
    shuffled_centred: float
    shuffled_centred_spread: float


def sign_accuracy(
    predicted: np.ndarray,
    truth: np.ndarray,
    train: np.ndarray,
) -> SignAccuracy:
    """Compare predicted word embeddings with the true ones.

    Args:
        predicted, truth: [n, d], row for row.
        train: [m, d], the true codes of the training set, for mean and most frequent signs.

    Raises:
        ValueError: the shapes do not fit, there is nothing to compare, or a value is not finite.
    """
    if predicted.ndim != 2 or predicted.shape != truth.shape or predicted.size == 0:
        raise ValueError(
            f"Sign accuracy compares two equal [n, d] arrays with at least one row, not "
            f"{predicted.shape} and {truth.shape}."
        )
    if train.ndim != 2 or train.shape[1] != predicted.shape[1] or not len(train):
        raise ValueError(
            f"The training codes of codes [n, {predicted.shape[1]}] must be "
            f"[m, {predicted.shape[1]}], not {train.shape}."
        )
    if not all(np.isfinite(values).all() for values in (predicted, truth, train)):
        raise ValueError("Sign accuracy needs finite values; the codes hold nan or infinity.")
    generator = np.random.default_rng(0)
    orders = [generator.permutation(len(truth)) for _ in range(SHUFFLES)]
    mean = train.mean(axis=0)
    centred, centred_truth = predicted - mean, truth - mean
    frequent = np.median(train - mean, axis=0)
    shuffled = [_agreement(predicted[order], truth) for order in orders]
    shuffled_centred = [_agreement(centred[order], centred_truth) for order in orders]
    return SignAccuracy(
        raw=_agreement(predicted, truth),
        centred=_agreement(centred, centred_truth),
        constant_mean=_agreement(np.broadcast_to(mean, truth.shape), truth),
        constant_centred=_agreement(np.broadcast_to(frequent, truth.shape), centred_truth),
        shuffled=float(np.mean(shuffled)),
        shuffled_spread=float(np.std(shuffled)),
        shuffled_centred=float(np.mean(shuffled_centred)),
        shuffled_centred_spread=float(np.std(shuffled_centred)),
    )


def _agreement(predicted: np.ndarray, truth: np.ndarray) -> float:
    return float(((predicted > 0) == (truth > 0)).mean())
