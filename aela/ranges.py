"""Settings check themselves: one sentence for a value outside its range."""

import math
from typing import Any


class WrongSetting(ValueError):
    """What somebody set cannot be so; the message says what it has to be."""


def check_ranges(settings: Any, ranges: dict[str, tuple[float, float]]) -> None:
    """
    Args:
        ranges: least and greatest value by the name of the setting.

    Raises:
        WrongSetting: a setting is not finite or outside its range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise WrongSetting(f"{name} must lie between {low:g} and {high:g}, not {value}.")
