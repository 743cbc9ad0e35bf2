"""What can be chosen about a nursery."""

from dataclasses import dataclass

from aela.nursery.things import THINGS


@dataclass(frozen=True)
class NurserySettings:
    """Size and seed of a set of sample videos. Raises ValueError where a value cannot work."""

    things: int = 8
    """How many things are named, the first of `THINGS`: 2 to len(THINGS)."""
    train_seconds: float = 20.0
    """Length of each training video (two per thing): at least 6 s."""
    test_segment_seconds: float = 6.0
    """How long each thing is shown in the tests; empty rooms and hands take two thirds of it. At
    least 5 s, so that there is time to look before the word falls at the end."""
    new_speaker_test: bool = False
    """Whether to make the test with a voice and rooms that training never has."""
    width: int = 480
    """Width of the picture in pixels: even, 160 to 1920."""
    height: int = 360
    """Height of the picture in pixels: even, 120 to 1080."""
    fps: int = 15
    """Frames per second, 5 to 60. Double it and the making takes almost twice as long."""
    seed: int = 0
    """The same seed and settings give the same videos: 0 or more."""

    def __post_init__(self) -> None:
        _check("things", self.things, 2, len(THINGS))
        _check("train_seconds", self.train_seconds, 6, 600)
        _check("test_segment_seconds", self.test_segment_seconds, 5, 60)
        _check("width", self.width, 160, 1920)
        _check("height", self.height, 120, 1080)
        _check("fps", self.fps, 5, 60)
        _check("seed", self.seed, 0, 2**32 - 1)
        for name, pixels in (("width", self.width), ("height", self.height)):
            if pixels % 2:
                raise ValueError(f"{name} must be even for H.264, not {pixels}.")


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {value}.")
