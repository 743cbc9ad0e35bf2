"""Settings of recall, novelty and the decision to speak."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MimicrySettings:
    """When to speak and what to lean on.

    Attributes:
        neighbours: remembered frames, and pictures of the ground, that novelty is measured against;
            keep it below the number of frames per thing.
        apart_s: when the threshold is set, a remembered frame is compared with memory without the
            frames of its own video closer than this, in seconds.
        quantile: share of remembered frames that would be recognised when seen anew, 0 to 1; the
            rest decides the novelty above which the system stays silent.
        steady_s: what was seen so many seconds before counts as far as it looks alike, 0 for each
            frame on its own.
    """

    neighbours: int = 4
    apart_s: float = 6.0
    quantile: float = 0.96
    steady_s: float = 2.5

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.apart_s < 0 or self.steady_s < 0:
            raise ValueError("neighbours must be at least 1, apart_s and steady_s at least 0.")
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile must lie between 0 and 1, not {self.quantile}.")


DEFAULT = MimicrySettings()
