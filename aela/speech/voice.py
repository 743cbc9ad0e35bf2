"""The voice: from log-mel features to sound."""

import numpy as np
import torch
from torchaudio.functional import griffinlim

from aela.capture import SAMPLE_RATE_HZ
from aela.speech.mel import HOP, WINDOW, mel_filters

UNMEL_STEPS = 40  # multiplicative updates from mel to linear spectrum
UNMEL_FLOOR = 1e-8
FEWEST_FRAMES = WINDOW // HOP + 2  # what the phases need at least
PHASE_STEPS = 60
PHASE_MOMENTUM = 0.99

LOUDNESS_RMS = 0.1  # -20 dB relative to full scale
HIGHEST_PEAK = 0.95
FADE_S = 0.01


def to_sound(features: np.ndarray) -> np.ndarray:
    """Features of a word as float32 [frames, BANDS] -> float32 mono [frames * HOP] at 44.1 kHz.

    The sound has a set loudness, stays below full scale and fades in and out.
    """
    return finished(with_phases(features))


def with_phases(features: np.ndarray) -> np.ndarray:
    """Samples with these features: mel to linear spectrum, then phases by Griffin-Lim.

    The spectrum is the non-negative least-squares answer (multiplicative updates, Lee and Seung
    2001); the phases are found with momentum (Perraudin, Balazs, Sondergaard 2013), from the same
    ones each time.

    Args:
        features: float32 [frames, BANDS].

    Returns:
        float32 [frames * HOP] at 44.1 kHz, of no particular level.
    """
    mel = torch.expm1(torch.from_numpy(np.asarray(features, np.float32)).clamp_min(0)).T
    filters = mel_filters()
    spectrum = filters.T @ mel + UNMEL_FLOOR
    target = filters.T @ mel
    for _ in range(UNMEL_STEPS):
        spectrum = spectrum * target / (filters.T @ (filters @ spectrum) + UNMEL_FLOOR)
    frames = spectrum.shape[1]
    spectrum = torch.nn.functional.pad(
        spectrum, (0, max(1, FEWEST_FRAMES - frames)), mode="replicate"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        samples = griffinlim(
            spectrum,
            torch.hann_window(WINDOW),
            WINDOW,
            HOP,
            WINDOW,
            power=1.0,
            n_iter=PHASE_STEPS,
            momentum=PHASE_MOMENTUM,
            length=(spectrum.shape[1] - 1) * HOP,
            rand_init=True,
        )
    return samples[: frames * HOP].numpy()


def finished(samples: np.ndarray) -> np.ndarray:
    """Fade the ends and bring the word to LOUDNESS_RMS, or as near as its peaks allow."""
    fade = min(round(FADE_S * SAMPLE_RATE_HZ), len(samples) // 2, HOP)
    ramp = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    samples = np.array(samples, np.float32)
    samples[:fade] *= ramp
    samples[len(samples) - fade :] *= ramp[::-1]
    peak = float(np.abs(samples).max(initial=0.0))
    if peak == 0.0:
        return samples
    level = float(np.sqrt(np.mean(samples**2)))
    return samples * min(LOUDNESS_RMS / level, HIGHEST_PEAK / peak)
