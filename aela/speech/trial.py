"""Words kept aside for the first part of a training, to measure it on what it has not seen."""

from collections.abc import Callable
from typing import Any

import numpy as np

HELD_OUT_SHARE = 0.1
MOST_HELD_OUT = 32
FEWEST_WORDS = 20  # new ones; with fewer, none is held out
UNTIL_SPENT = 0.6  # of the budget


class Trial:
    """Holds a share of the new words out, measures on them, and then lets them in.

    Old ones a parent has learned from. No word is lost to the measurement: what was remembered once
    must be learned too.

    Args:
        new: how many of the words are new; they come first.
        chances: float [words], how likely each is drawn.
        measure: called once with the numbers of the held-out words.
    """

    def __init__(
        self,
        chances: np.ndarray,
        new: int,
        rng: np.random.Generator,
        measure: Callable[[np.ndarray], dict[str, float]],
    ) -> None:
        order = rng.permutation(new)
        out = min(MOST_HELD_OUT, int(new * HELD_OUT_SHARE)) if new >= FEWEST_WORDS else 0
        self.held_out = np.sort(order[:out])
        self.seen = np.setdiff1d(np.arange(len(chances)), self.held_out)
        self.chances, self.rng, self.measure = chances, rng, measure
        self.figures: dict[str, float] = {}

    def draw(self, spent: float, batch: int) -> np.ndarray:
        """Numbers of the words of a batch, when `spent` (0 to 1) of the budget is used up."""
        if spent >= UNTIL_SPENT and len(self.held_out):
            self.figures = self.measure(self.held_out)
            self.seen = np.sort(np.concatenate([self.seen, self.held_out]))
            self.held_out = self.held_out[:0]
        chances = self.chances[self.seen]
        return self.rng.choice(self.seen, batch, p=chances / chances.sum())

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "held_out": self.held_out, "figures": self.figures}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen, self.held_out = state["seen"], state["held_out"]
        self.figures = state["figures"]
