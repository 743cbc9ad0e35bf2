"""Small pictures, sounds and videos for the tests of the senses, and what was captured of them."""

from io import BytesIO

import numpy as np
from PIL import Image

from aela.capture import Clip, Frame, Rejection

RATE_HZ = 44_100


def voice(seconds: float, pitch_hz: float = 120.0, seed: int = 0) -> np.ndarray:
    """A word-like sound: a hiss, then a pitched buzz whose resonances move; float32, peak 0.3."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    place = t / seconds
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.15 * np.sin(2 * np.pi * place))) / RATE_HZ
    buzz = np.zeros_like(t)
    for harmonic in range(1, int(5000 / pitch_hz)):
        hz = harmonic * pitch_hz
        formants = ((700 - 400 * place, 90), (1100 + 1100 * place, 120), (2600 + 0 * place, 200))
        gain = sum(1 / (1 + ((hz - centre) / width) ** 2) for centre, width in formants)
        buzz += gain * np.sin(harmonic * phase)
    hiss = np.diff(rng.normal(size=len(t) + 1))
    hissing = place < 0.25
    rise = np.minimum(1, np.minimum(t, t[::-1]) / 0.04)
    sound = np.where(hissing, 0.15 * hiss, buzz / np.abs(buzz).max()) * rise
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def knock(seed: int = 0) -> np.ndarray:
    """A hit on wood: resonances that die away within a tenth of a second."""
    rng = np.random.default_rng(seed)
    t = np.arange(RATE_HZ // 4) / RATE_HZ
    hits = [np.sin(2 * np.pi * rng.uniform(150, 900) * t) for _ in range(4)]
    return (0.15 * np.sum(hits, axis=0) * np.exp(-t / 0.015)).astype(np.float32)


def burst(seconds: float = 0.25, seed: int = 0) -> np.ndarray:
    """A burst of white noise."""
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)


def beep(seconds: float = 0.5, hz: float = 1000.0) -> np.ndarray:
    """A plain tone."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    ramp = np.minimum(1, np.minimum(t, t[::-1]) / 0.01)
    return (0.2 * ramp * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def room(seconds: float, sounds: dict[float, np.ndarray], noise: float = 0.002) -> np.ndarray:
    """Sounds at their start times over steady low-pass noise, float32 [n]."""
    rng = np.random.default_rng(1)
    white = rng.normal(0, noise, round(seconds * RATE_HZ) + 2)
    samples = ((white[2:] + white[1:-1] + white[:-2]) / np.sqrt(3)).astype(np.float32)
    for start_s, sound in sounds.items():
        start = round(start_s * RATE_HZ)
        samples[start : start + len(sound)] += sound
    return samples


def scene(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A picture full of edges at all scales, uint8 [h, w, 3]."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for side in (4, 8, 16, 32, 64):
        blocks = rng.normal(0, 25, (height // side + 1, width // side + 1, 3))
        picture += blocks.repeat(side, 0).repeat(side, 1)[:height, :width]
    return np.clip(picture + 128, 0, 255).astype(np.uint8)


def smeared(picture: np.ndarray, pixels: int = 40) -> np.ndarray:
    """The picture during a fast sideways pan."""
    shifted = [np.roll(picture, shift, axis=1) for shift in range(pixels)]
    return np.mean(shifted, axis=0).astype(np.uint8)


def clips(found: list) -> list[Clip]:
    return [item for item in found if isinstance(item, Clip)]


def frames(found: list) -> list[Frame]:
    return [item for item in found if isinstance(item, Frame)]


def reasons(found: list, sense: str) -> list[str]:
    return [item.reason for item in found if isinstance(item, Rejection) and item.sense == sense]


def decoded(frame: Frame) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(frame.jpeg)))
