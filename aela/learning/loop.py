"""The training loop that all trainers share: steps within a budget, reported as they go."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

REPORT_EVERY_S = 2.0
GRACE = 0.1  # share of a budget's minutes that does not count: a slow start decides nothing


@dataclass(frozen=True)
class Budget:
    """How long to train: `steps` gradient steps, or fewer when `minutes` run out first.

    Runs in which time never gets ahead of the steps, its first tenth aside, are reproducible on one
    machine; runs cut by `minutes` are not.
    """

    steps: int
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.minutes is not None and self.minutes <= 0):
            raise ValueError(f"A budget needs at least one step and some minutes, not {self}.")

    def spent(self, step: int, elapsed_s: float) -> float:
        """The share of the budget used up, 0 to 1: what learning-rate schedules go by."""
        of_time = elapsed_s / 60 / self.minutes if self.minutes else 0.0
        return min(1.0, max(step / self.steps, (of_time - GRACE) / (1 - GRACE)))


@dataclass(frozen=True)
class Progress:
    """One report: `losses` are means over the steps since the last one."""

    model: str
    step: int
    spent: float
    elapsed_s: float
    items_per_s: float
    losses: dict[str, float]

    def __str__(self) -> str:
        losses = " ".join(f"{name} {value:.4g}" for name, value in self.losses.items())
        return (
            f"{self.model} step {self.step} ({self.spent:.0%}, {self.elapsed_s:.0f} s): "
            f"{losses}, {self.items_per_s:.0f} items/s"
        )


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """A `Report` for those who do not want one."""


@dataclass
class History:
    """All reports of one training."""

    reports: list[Progress] = field(default_factory=list)

    def points(self) -> list[dict[str, float]]:
        """One `{"step": ..., loss: ...}` per report: for the card."""
        return [{"step": float(r.step), **r.losses} for r in self.reports]

    def metrics(self) -> dict[str, float]:
        """First and last value of each loss, steps, seconds and throughput: for the card."""
        if not self.reports:
            return {}
        first, last = self.reports[0], self.reports[-1]
        return {
            **{f"first_{name}": value for name, value in first.losses.items()},
            **{f"last_{name}": value for name, value in last.losses.items()},
            "steps": float(last.step),
            "seconds": round(last.elapsed_s, 1),
            "items_per_s": round(last.items_per_s, 1),
        }


def one_cycle(spent: float, rise: float = 0.1) -> float:
    """The learning rate's share of its peak: a linear rise, then half a cosine down to 0."""
    if spent < rise:
        return max(spent, 1e-3) / rise
    return 0.5 * (1 + math.cos(math.pi * (spent - rise) / (1 - rise)))


def run(
    model: str,
    step: Callable[[int, float], Mapping[str, float]],
    budget: Budget,
    batch: int,
    report: Report = silent,
    every_s: float = REPORT_EVERY_S,
) -> History:
    """Call `step(index, spent)` until the budget is spent.

    Args:
        model: name for the reports.
        step: makes one gradient step and returns its losses; `spent` runs from 0 to 1.
        batch: items per step, for the throughput.
        report: told the mean losses after the first step, every `every_s` seconds and at the end.

    Raises:
        FloatingPointError: a loss is not finite; the training must not go on.
    """
    history = History()
    window: dict[str, list[float]] = defaultdict(list)
    start = last_report = time.monotonic()
    index = reported = 0

    def tell() -> None:
        nonlocal last_report, reported
        now = time.monotonic()
        progress = Progress(
            model,
            index,
            budget.spent(index, now - start),
            now - start,
            (index - reported) * batch / max(now - last_report, 1e-9),
            {name: sum(values) / len(values) for name, values in window.items()},
        )
        history.reports.append(progress)
        report(progress)
        window.clear()
        last_report, reported = now, index

    while (spent := budget.spent(index, time.monotonic() - start)) < 1.0:
        for name, value in step(index, spent).items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"The {name} loss of {model} became {value} at step {index}; "
                    "train it with a smaller learning rate."
                )
            window[name].append(value)
        index += 1
        if index == 1 or time.monotonic() - last_report >= every_s:
            tell()
    if window:
        tell()
    return history
