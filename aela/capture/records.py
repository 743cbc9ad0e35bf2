"""What a capture run yields."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

SAMPLE_RATE_HZ = 44_100

Reason = Literal[
    "blurry",  # frame: far less sharp than its surroundings; value: share of their sharpness
    "knock",  # sound: a hit that dies away at once; value: seconds
    "noise",  # sound: neither a voice nor a change of timbre, or a short burst; value: seconds
    "tone",  # sound: a beep or a whistle; value: seconds
    "too quiet",  # sound: below the least level or distance to the noise; value: dB
    "too short",  # sound: value: seconds
    "own voice",  # sound: heard while the system spoke; value: seconds
    "too long",  # the video goes on after the most seconds looked at; value: that limit
    "damaged",  # this part could not be decoded; value: seconds
    "missing",  # a live source gave nothing; value: seconds
    "dropped",  # what a live source gave came faster than it was looked at; value: packets
]


@dataclass(frozen=True)
class Frame:
    """One kept picture."""

    time_s: float
    """Seconds from the start of the video."""
    jpeg: bytes
    """The picture, upright and with square pixels, as JPEG."""
    width: int
    height: int
    sharpness: float
    """Fine detail relative to coarse detail; comparable within one video (0 and up)."""
    neighbours: np.ndarray
    """uint8 RGB [2, h, w, 3], shorter side at most 96: the view about 0.3 s before and after."""


@dataclass(frozen=True)
class Clip:
    """One spoken word, or a stretch of speech without a pause."""

    start_s: float
    """Where the audible word starts, in seconds from the start of the video."""
    end_s: float
    """Where the audible word ends, without the rolls and the padding."""
    samples: np.ndarray
    """float32 mono [n] at 44,100 Hz: pre-roll, word, post-roll, then zeros up to the least length.

    The rolls are recorded sound, faded at their outer ends.
    """
    word_start_s: float
    """Where the audible word starts inside `samples`, in seconds."""
    level_db: float
    """Root mean square of the word, dB relative to full scale."""
    snr_db: float
    """Level of the word above the background noise, dB."""


@dataclass(frozen=True)
class Rejection:
    """Something that was looked at or listened to and left out."""

    sense: Literal["frame", "clip"]
    start_s: float
    end_s: float
    reason: Reason
    value: float
    """What was measured; its unit depends on the reason."""


@dataclass(frozen=True)
class VideoInfo:
    """What a video holds, as its container declares it."""

    duration_s: float
    """0 when the container does not say."""
    has_picture: bool
    has_sound: bool
    width: int
    """Pixels as shown: upright, square pixels. 0 without picture."""
    height: int
    fps: float
    """Average frames per second; 0 without picture or when unknown."""


class UnreadableVideo(ValueError):
    """The file cannot be used; the message says in one sentence what is wrong and what to do."""
