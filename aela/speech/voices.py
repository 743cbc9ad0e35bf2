"""Other voices for the same word: what the word autoencoder must not mind."""

import librosa
import numpy as np

from aela.speech.mel import BANDS, HIGHEST_HZ, LOWEST_HZ

WARP = 0.2  # greatest change of the frequencies, as the logarithm of their factor
COLOUR = 0.5  # standard deviation of the logarithm of the bands' weights
COLOUR_POINTS = 8  # of the random curve over the bands
BAND_HZ = librosa.mel_frequencies(BANDS + 2, fmin=LOWEST_HZ, fmax=HIGHEST_HZ)[1:-1]


def another_voice(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The word as a longer or shorter vocal tract and another microphone would give it.

    Frequencies are scaled by one random factor (vocal tract length perturbation: Jaitly, Hinton
    2013), and the bands weighted by a random smooth curve.

    Args:
        features: float32 [frames, BANDS].

    Returns:
        float32 [frames, BANDS].
    """
    source = np.interp(BAND_HZ * np.exp(rng.uniform(-WARP, WARP)), BAND_HZ, np.arange(BANDS))
    lower = np.minimum(source.astype(int), BANDS - 2)
    share = (source - lower).astype(np.float32)
    warped = features[:, lower] * (1 - share) + features[:, lower + 1] * share
    points = rng.normal(0, COLOUR, COLOUR_POINTS)
    curve = np.interp(np.linspace(0, COLOUR_POINTS - 1, BANDS), np.arange(COLOUR_POINTS), points)
    return np.log1p(np.expm1(warped) * np.exp(curve).astype(np.float32))
