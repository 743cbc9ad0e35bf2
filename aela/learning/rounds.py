"""A round: a training that goes on from its parent, on what is new and on a share of what is old.

What a round costs depends on what is new: old rows are replayed in a bounded number, drawn evenly
from memory, and a share of each batch is new however little that is (experience replay: Rolnick et
al. 2019, "Experience Replay for Continual Learning").
"""

import numpy as np

from aela.learning.checkpoints import Checkpoint
from aela.memory import manifest as manifests
from aela.memory.manifest import Entry
from aela.storage import Home

LEAST_KEPT = 0.7  # mean cosine of old embeddings and the parent's; rounds have 0.84 to 0.98
NEW_SHARE = 0.5  # of a batch of words or moments, at least; the rest is old


def known_to(home: Home, parent: Checkpoint | None) -> frozenset[Entry]:
    """The entries of the memory that a checkpoint was trained on; none for None."""
    return frozenset(manifests.read(home, parent.card.manifest).entries if parent else ())


def takes_over_from(checkpoint: Checkpoint) -> str | None:
    """The parent whose embeddings may stand in for a checkpoint's own.

    None without one, and where old frames or clips lie elsewhere by now, as the card's `kept`
    tells: then what the parent says of them means nothing to those who learn from the checkpoint.
    """
    near = checkpoint.card.metrics.get("kept", 1.0) >= LEAST_KEPT
    return checkpoint.card.parent if near else None


def replayed(rows: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Which of so many old rows are replayed, at most `most`: int [n], rising."""
    return np.sort(rng.choice(rows, min(rows, most), replace=False))


def balanced(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """How likely each row is drawn, so that new ones make up their share: float [n], sums to 1.

    Args:
        new, old: row numbers, together 0 to n - 1; each row counts the same where one is empty or
            where new ones have their share anyway.
    """
    chances = np.ones(len(new) + len(old))
    if len(new) and len(old) and len(new) < NEW_SHARE * len(chances):
        chances[new] = NEW_SHARE / len(new)
        chances[old] = (1 - NEW_SHARE) / len(old)
    return chances / chances.sum()
