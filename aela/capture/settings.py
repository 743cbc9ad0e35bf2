"""What a capture run keeps, of a file or of a live source."""

from dataclasses import dataclass

from aela.ranges import check_ranges

MOST_PIXELS = 200_000_000  # in a picture; no setting allows more


@dataclass(frozen=True)
class CaptureSettings:
    """How frames and clips are chosen; the defaults follow AELA0.

    Raises ValueError, in one sentence, when a value lies outside its range.
    """

    frames_per_second: float = 1.0
    """Frames kept per second at most: the sharpest of each interval (0.1 to 30)."""

    shorter_side: int = 224
    """Larger pictures are scaled down to this shorter side in pixels, never up (32 to 4096)."""

    jpeg_quality: int = 90
    """JPEG quality of kept frames (1 to 95)."""

    least_sharpness: float = 0.5
    """A frame is blurry below this share of the usual sharpness around it (0 to 1)."""

    clip_seconds_min: float = 1.0
    """Shorter clips are padded with zeros at the end to this length (0.1 to 10 s)."""

    clip_seconds_max: float = 10.0
    """Longer speech is cut at its quietest points into clips of at most this length (2 to 60 s)."""

    shortest_word_s: float = 0.12
    """Shorter sounds are not words (0.02 to 1 s)."""

    longest_pause_s: float = 0.3
    """A quieter gap up to this length belongs to the word around it (0 to 1 s)."""

    pre_roll_s: float = 0.1
    """Sound kept before the audible word (0 to 0.5 s)."""

    post_roll_s: float = 0.1
    """Sound kept after the audible word (0 to 0.5 s)."""

    least_snr_db: float = 5.0
    """A word's loudest part must stand this far above the background noise (3 to 40 dB)."""

    least_level_db: float = -60.0
    """A word's level must reach this, in dB relative to full scale (-90 to 0)."""

    max_pixels: int = 40_000_000
    """Videos with larger pictures are refused (10,000 to 200,000,000 pixels)."""

    max_seconds: float = 12 * 3600.0
    """What comes later in a video is left out and logged as "too long" (1 s to 7 days)."""

    def __post_init__(self) -> None:
        ranges = {
            "frames_per_second": (0.1, 30.0),
            "shorter_side": (32, 4096),
            "jpeg_quality": (1, 95),
            "least_sharpness": (0.0, 1.0),
            "clip_seconds_min": (0.1, 10.0),
            "clip_seconds_max": (2.0, 60.0),
            "shortest_word_s": (0.02, 1.0),
            "longest_pause_s": (0.0, 1.0),
            "pre_roll_s": (0.0, 0.5),
            "post_roll_s": (0.0, 0.5),
            "least_snr_db": (3.0, 40.0),
            "least_level_db": (-90.0, 0.0),
            "max_pixels": (10_000, MOST_PIXELS),
            "max_seconds": (1.0, 7 * 24 * 3600.0),
        }
        check_ranges(self, ranges)
        if self.clip_seconds_min > self.clip_seconds_max:
            raise ValueError(
                f"clip_seconds_min ({self.clip_seconds_min}) must not exceed "
                f"clip_seconds_max ({self.clip_seconds_max})."
            )
