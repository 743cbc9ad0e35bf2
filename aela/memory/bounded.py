"""A bounded memory: at most so many frames and clips are learned from and recalled.

By default memory is perfect, and nothing leaves it. With a bound, what is kept are the newest video
and an even sample of all others, drawn by the hashes of their contents: of two videos the same one
stays whenever this is asked, and what has left does not come back but where room is made (reservoir
sampling: Vitter 1985; bottom-k sketches: Cohen, Kaplan 2007). What is left out stays on disk.
"""

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from aela.ranges import environment_number
from aela.storage import sha256

MOST_FRAMES = "AELA_MOST_FRAMES"  # environment variable: frames that are kept at most
MOST_CLIPS = "AELA_MOST_CLIPS"


class Counted(Protocol):
    """A video with the hash and the numbers of its rows."""

    @property
    def content(self) -> str: ...
    @property
    def frames(self) -> int: ...
    @property
    def clips(self) -> int: ...


Video = TypeVar("Video", bound=Counted)


def bounds() -> tuple[float, float]:
    """Frames and clips that are kept at most; infinite without a bound.

    Raises:
        WrongSetting: an environment variable holds no number above 0.
    """
    return _most(MOST_FRAMES), _most(MOST_CLIPS)


def _most(variable: str) -> float:
    return environment_number(variable, math.inf, lambda most: most > 0, "a number above 0")


def kept(newest_first: Sequence[Video], frames: float, clips: float) -> list[Video]:
    """What of these videos is kept within the bounds; the newest one in any case."""
    ranked = list(newest_first[:1])
    ranked += sorted(newest_first[1:], key=lambda video: sha256(video.content.encode()))
    chosen: list[Video] = []
    for video in ranked:
        if chosen and (video.frames > frames or video.clips > clips):
            continue
        chosen.append(video)
        frames, clips = frames - video.frames, clips - video.clips
    return chosen
