"""Settings check themselves: one sentence for a value outside its range."""

import math
import os
from collections.abc import Callable
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


def environment_number(
    name: str, otherwise: float, fits: Callable[[float], bool], what: str
) -> float:
    """The number in an environment variable; `otherwise` where it is not set or empty.

    Args:
        fits: whether a number may be set.
        what: which numbers may, as the message says it, such as "a number above 0".

    Raises:
        WrongSetting: it holds something else.
    """
    text = os.environ.get(name)
    if not text:
        return otherwise
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not fits(number):
        raise WrongSetting(f"{name} must be {what}, not {text!r}.")
    return number
