"""Whitening: main directions of features, each scaled to an equal spread."""

from dataclasses import dataclass

import torch

FLOOR = 2.0  # times the mean eigenvalue: much smaller ones count as noise


@dataclass(frozen=True)
class Whitening:
    """Features [n, f] less `mean` [f], times `matrix` [f, d], lie evenly about nought.

    `effective_rank` is the exponential of the entropy of the covariance's eigenvalues (Roy and
    Vetterli 2007): 1 after a collapse, f at most.
    """

    mean: torch.Tensor
    matrix: torch.Tensor
    effective_rank: float


def fit(features: torch.Tensor, size: int, floor: float = FLOOR) -> Whitening:
    """The whitening of features, float32 [n, f], onto their `size` main directions, at most f."""
    mean = features.mean(dim=0)
    covariance = (features - mean).T @ (features - mean) / len(features)
    values, vectors = torch.linalg.eigh(covariance)  # in rising order
    values = values.clamp(min=0)
    shares = values / values.sum().clamp(min=1e-12)
    scale = (values + floor * values.mean()).clamp(min=1e-12).rsqrt()
    rank = float(torch.xlogy(shares, shares).sum().neg().exp())
    return Whitening(mean, (vectors * scale)[:, -size:], rank)
