"""Log-mel features of a word.

A word is a float32 array [frames, BANDS] of log(1 + x), where x is the mel magnitude spectrum after
it was scaled so that the loud parts of every word come out alike: the article's log(1 + x) without
that scale hides what is quiet, and makes the same word said louder another word.
"""

import functools

import librosa
import numpy as np
import torch

from aela.capture import SAMPLE_RATE_HZ

WINDOW = 2048  # samples: 46 ms
HOP = 441  # samples: 10 ms
HOP_S = HOP / SAMPLE_RATE_HZ
BANDS = 128  # fewer bands lose more than the phase does
LOWEST_HZ, HIGHEST_HZ = 40.0, 16_000.0

LOUD_QUANTILE = 0.9  # a word is as loud as its frames at this quantile
LOUD_VALUE = 60.0  # mean x of a frame that is as loud as the word
SILENCE = 1e-7  # mean mel magnitude of digital silence: never scaled up further


@functools.cache
def mel_filters() -> torch.Tensor:
    """Mel filters, float32 [BANDS, WINDOW // 2 + 1] (Slaney's scale and norm)."""
    return torch.from_numpy(
        librosa.filters.mel(
            sr=SAMPLE_RATE_HZ, n_fft=WINDOW, n_mels=BANDS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ
        )
    )


def log_mel(samples: np.ndarray, start_s: float = 0.0, seconds: float | None = None) -> np.ndarray:
    """Features of the word in `samples`.

    Args:
        samples: float32 mono [n] at 44.1 kHz.
        start_s: where the word starts in them.
        seconds: how long it is; None: up to the last sample that is not zero.

    Returns:
        float32 [frames, BANDS], a frame per HOP_S; at least one frame.
    """
    if seconds is None:
        sounding = np.flatnonzero(samples)
        first, last = (sounding[0], sounding[-1] + 1) if len(sounding) else (0, len(samples))
        samples = samples[first:last]
        start_s, seconds = 0.0, len(samples) / SAMPLE_RATE_HZ
    padded = np.pad(np.asarray(samples, np.float32), WINDOW // 2)
    short = WINDOW + HOP - len(padded)
    spectrum = torch.stft(
        torch.from_numpy(np.pad(padded, (0, max(0, short)))),
        WINDOW,
        HOP,
        window=torch.hann_window(WINDOW),
        center=False,
        return_complex=True,
    ).abs()
    mel = (mel_filters() @ spectrum).T
    first = min(round(start_s / HOP_S), len(mel) - 1)
    mel = mel[first : first + max(1, round(seconds / HOP_S))]
    loud = torch.quantile(mel.mean(1), LOUD_QUANTILE).clamp_min(SILENCE)
    return torch.log1p(mel * (LOUD_VALUE / loud)).numpy()
