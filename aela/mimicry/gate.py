"""The gate: a new generation speaks only if it agrees with memory as well as the last one."""

from dataclasses import dataclass

from aela.mimicry.agreement import Comparison, agreement, compare
from aela.mimicry.generation import Figures, Generation, forgotten_by
from aela.storage import Home


@dataclass(frozen=True)
class Verdict:
    """Whether a generation may speak, and why in one sentence; None: not measured."""

    passed: bool
    reason: str
    figures: Figures | None = None
    comparison: Comparison | None = None


def judge(home: Home, old: Generation | None, new: Generation) -> Verdict:
    """Whether `new` may take the place of `old`, the one that speaks.

    It may not if it agrees less with what both learned from, beyond `Comparison.tolerance`. It may
    in any case where there is nothing to compare, and where `old` learned from something that was
    forgotten since, which must not go on speaking.

    Raises:
        ChangedMemory: memory no longer holds what they learned from.
    """
    if old is None:
        return _alone(home, new, "It is the first.")
    if old.sha == new.sha:
        return Verdict(True, "It speaks already.")
    found = compare(home, old, new)
    if found is None:
        return _alone(home, new, f"Memory holds no two words that {old.sha[:12]} learned, too.")
    figures = Figures(found.new.share, found.moments, found.old.share)
    measured = (
        f"agrees with {found.new.share:.3f} of memory, {old.sha[:12]} with {found.old.share:.3f} "
        f"({found.moments} moments, {found.tolerance:.3f} less is tolerated, chance is 0.5)"
    )
    if found.holds:
        return Verdict(True, f"It {measured}.", figures, found)
    if gone := forgotten_by(home, old):
        reason = f"It {measured}; it speaks in spite of that, since {gone} was forgotten."
        return Verdict(True, reason, figures, found)
    worst = found.worst
    reason = (
        f"The new generation {new.sha[:12]} {measured}, so it was refused and {old.sha[:12]} goes "
        f"on speaking; it lost most in {worst} ({found.old.videos[worst]:.3f} to "
        f"{found.new.videos[worst]:.3f}); train longer or add videos of that, or have it speak "
        f"in spite of that with `aela generations rollback {new.sha[:12]}`."
    )
    return Verdict(False, reason, figures, found)


def _alone(home: Home, new: Generation, why: str) -> Verdict:
    measured = agreement(home, new)
    if measured is None:
        return Verdict(True, why)
    found, moments = measured
    return Verdict(True, why, Figures(found.share, moments))
