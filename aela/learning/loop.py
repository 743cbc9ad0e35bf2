"""The training loop that all trainers share: steps within a budget, reported as they go.

A training that was ended goes on where its bookmark lies (`aela.learning.bookmark`).
"""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aela.learning.bookmark import Bookmark  # imports torch, which settings must not

REPORT_EVERY_S = 2.0
LEAST_SHARE = 0.05  # of a budget, however little is new
LEAST_STEPS = 20  # however small the budget: fewer change nothing that can be measured
GRACE = 0.1  # share of a budget's minutes that does not count: a slow start decides nothing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """How long to train: `steps` gradient steps, or fewer, down to LEAST_STEPS, when `minutes` run
    out first.

    `rows` is how much new memory (frames or clips) they are meant for: less needs less, see `of`.
    Runs in which time never gets ahead of the steps, its first tenth aside, are reproducible on one
    machine; runs cut by `minutes` are not.
    """

    steps: int
    minutes: float | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.minutes is not None and self.minutes <= 0):
            raise ValueError(f"A budget needs at least one step and some minutes, not {self}.")
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"A budget is meant for at least one row, not {self.rows}.")

    def of(self, new: int) -> "Budget":
        """What of the budget is spent on so many new rows: not less than LEAST_SHARE of it, or than
        LEAST_STEPS if it has as many.
        """
        if self.rows is None or new >= self.rows:
            return self
        steps = round(max(LEAST_SHARE, new / self.rows) * self.steps)
        return Budget(max(steps, min(LEAST_STEPS, self.steps)), self.minutes)

    def spent(self, step: int, elapsed_s: float) -> float:
        """The share of the budget used up, 0 to 1: what learning-rate schedules go by."""
        timed = step >= min(LEAST_STEPS, self.steps)
        of_time = elapsed_s / 60 / self.minutes if self.minutes and timed else 0.0
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


class _Course:
    """Where a training stands, and how it came there."""

    def __init__(self, model: str, budget: Budget, batch: int, report: Report) -> None:
        self.model, self.budget, self.batch, self.report = model, budget, batch, report
        self.history = History()
        self.step = self.reported = 0  # the steps made, and those of the last report
        self.window: dict[str, list[float]] = defaultdict(list)  # losses since the last report
        self.start = self.last_report = time.monotonic()

    @property
    def spent(self) -> float:
        return self.budget.spent(self.step, time.monotonic() - self.start)

    def tell(self) -> None:
        """Report the losses since the last report."""
        now = time.monotonic()
        elapsed_s = now - self.start
        progress = Progress(
            self.model,
            self.step,
            self.budget.spent(self.step, elapsed_s),
            elapsed_s,
            (self.step - self.reported) * self.batch / max(now - self.last_report, 1e-9),
            {name: sum(values) / len(values) for name, values in self.window.items()},
        )
        self.history.reports.append(progress)
        self.report(progress)
        self.window.clear()
        self.last_report, self.reported = now, self.step

    def state_dict(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "step": self.step,
            "reported": self.reported,
            "elapsed_s": now - self.start,
            "unreported_s": now - self.last_report,
            "window": dict(self.window),
            "reports": [asdict(report) for report in self.history.reports],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        now = time.monotonic()
        self.step, self.reported = state["step"], state["reported"]
        self.start = now - state["elapsed_s"]
        self.last_report = now - state["unreported_s"]
        self.window = defaultdict(list, state["window"])
        self.history.reports = [Progress(**report) for report in state["reports"]]


def run(
    model: str,
    step: Callable[[int, float], Mapping[str, float]],
    budget: Budget,
    batch: int,
    report: Report = silent,
    bookmark: "Bookmark | None" = None,
) -> History:
    """Call `step(index, spent)` until the budget is spent, from where a bookmark lies.

    Args:
        model: name for the reports.
        step: makes one gradient step and returns its losses; `spent` runs from 0 to 1.
        batch: items per step, for the throughput.
        report: told the mean losses after the first step, every REPORT_EVERY_S and at the end.
        bookmark: holds all that `step` changes; written as the training goes, and for the caller to
            delete once what was learned is saved.

    Raises:
        FloatingPointError: a loss is not finite; the training must not go on.
    """
    course = _Course(model, budget, batch, report)
    if bookmark:
        bookmark.hold(course=course)
        if bookmark.load():
            log.info("The training of %s goes on at step %d.", model, course.step)
    last_saved = time.monotonic()
    while (spent := course.spent) < 1.0:
        for name, value in step(course.step, spent).items():
            if not math.isfinite(value):
                if bookmark:
                    bookmark.delete()
                raise FloatingPointError(
                    f"The {name} loss of {model} became {value} at step {course.step}; "
                    "train it with a smaller learning rate."
                )
            course.window[name].append(value)
        course.step += 1
        if course.step == 1 or time.monotonic() - course.last_report >= REPORT_EVERY_S:
            course.tell()
        if bookmark and time.monotonic() - last_saved >= bookmark.every_s:
            bookmark.save()
            last_saved = time.monotonic()
    if course.window:
        course.tell()
    return course.history
