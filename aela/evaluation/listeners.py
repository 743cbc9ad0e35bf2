"""Two listeners of different kinds: which of the known words is a sound?

`nearest_saying` needs no training: one nearest neighbour by dynamic time warping over mel-frequency
cepstral coefficients (Davis, Mermelstein 1980) with their slopes (Furui 1986), freed from the
constant colour of speaker and room by taking the mean of each saying away.

`classifier` compares no sound with another: a support vector machine (Cortes, Vapnik 1995), trained
for the occasion on the known sayings and on many variants of them, each squeezed to the same few
points in time.

Both know nothing but the sayings that they are given, and so work in any language.
"""

import math
from collections.abc import Callable

import librosa
import numpy as np
from scipy.fft import dct
from scipy.ndimage import gaussian_filter1d
from scipy.signal import resample_poly
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from aela.capture import SAMPLE_RATE_HZ

RATE_HZ = 16_000
HOP = 160  # samples: 10 ms
WINDOW = 400  # samples: 25 ms
FFT = 512  # samples
BANDS = 26
COEFFICIENTS = 10
SLOPE_FRAMES = 9
# What is quieter than the loudest part by more than this, at either end, does not belong to the
# word; chosen on training sayings of two speakers, each named by the other's.
SILENCE_DB = 25.0

# The classifier's, chosen in the same way.
FINE_BANDS = 40
LOWEST_HZ, HIGHEST_HZ = 60.0, 7_000.0
FLOOR_DB = -60.0  # below the loudest value
POINTS = 12  # in time, for a word of any length
PENALTY = 3.0  # of the support vector machine
VARIANTS = 15  # of each saying, fewer where MOST_VARIANTS would be exceeded
MOST_VARIANTS = 6_000
TRACTS = (0.78, 0.85, 0.92, 1.0, 1.08, 1.17, 1.28)  # stretches of the frequency axis
NOISES = (0.0, 1e-4, 1e-3, 1e-2)  # power, relative to the loudest band's
CUT = 0.1  # at most, of either end
BEND = 0.15  # at most: how far the tempo of the halves differs, below 1 / pi


def nearest_saying(
    sounds: list[np.ndarray],
    references: list[np.ndarray],
    words: list[str],
) -> list[str]:
    """The word of the reference that each sound resembles most; see `nearest`."""
    indices, _ = nearest(sounds, references)
    return [words[i] for i in indices]


def classifier(
    sounds: list[np.ndarray],
    references: list[np.ndarray],
    words: list[str],
) -> list[str]:
    """What a classifier that was trained on the references takes each sound for.

    The variants that it is trained on have another length of the vocal tract (Jaitly, Hinton 2013),
    another tempo in either half, noise, and cut ends. The same arguments give the same answer.

    Args:
        sounds, references: mono samples [n] at 44.1 kHz each, of any level and length.
        words: of the references.

    Raises:
        ValueError: there are no references.
    """
    if not references:
        raise ValueError(NO_REFERENCES)
    if len(set(words)) == 1 or not sounds:
        return words[:1] * len(sounds)
    rng = np.random.default_rng(0)
    filters = {stretch: _mel_filters(stretch) for stretch in TRACTS}
    variants = min(VARIANTS, max(1, MOST_VARIANTS // len(references)))
    examples = [
        _squeezed(
            power,
            filters[rng.choice(TRACTS)],
            noise=rng.choice(NOISES),
            cut=rng.uniform(0, CUT, 2),
            bend=rng.uniform(-BEND, BEND),
        )
        for power in (_power(reference) for reference in references)
        for _ in range(variants)
    ]
    machine = make_pipeline(StandardScaler(), SVC(C=PENALTY))
    machine.fit(np.stack(examples), np.repeat(words, variants))
    asked = [_squeezed(_power(sound), filters[1.0]) for sound in sounds]
    return machine.predict(np.stack(asked)).tolist()


Listener = Callable[[list[np.ndarray], list[np.ndarray], list[str]], list[str]]

LISTENERS: dict[str, Listener] = {"nearest_saying": nearest_saying, "classifier": classifier}

NO_REFERENCES = "There are no reference sounds to compare with; remember some clips."


def nearest(
    sounds: list[np.ndarray], references: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """For each sound, the reference that it resembles most.

    Args:
        sounds, references: mono samples [n] at 44.1 kHz each, of any level and length.

    Returns:
        int64 [sounds], the index of the nearest reference, and float32 [sounds], its distance:
        0 for the same sound, 0.03 to 0.2 for the same word said anew.

    Raises:
        ValueError: there are no references.
    """
    if not references:
        raise ValueError(NO_REFERENCES)
    heard = [features(reference) for reference in references]
    lengths = np.array([len(frames) for frames in heard])
    padded = np.zeros((len(heard), lengths.max(), heard[0].shape[1]), np.float32)
    for row, frames in zip(padded, heard, strict=True):
        row[: len(frames)] = frames
    indices = np.zeros(len(sounds), np.int64)
    distances = np.zeros(len(sounds), np.float32)
    for i, sound in enumerate(sounds):
        to_all = warped_distances(features(sound), padded, lengths)
        indices[i] = to_all.argmin()
        distances[i] = to_all[indices[i]]
    return indices, distances


def features(samples: np.ndarray) -> np.ndarray:
    """What the listener hears of samples [n] at 44.1 kHz.

    Returns:
        unit vectors, float32 [frames, 2 COEFFICIENTS].
    """
    word = _word(samples)
    cepstrum = librosa.feature.mfcc(
        y=word,
        sr=RATE_HZ,
        n_mfcc=COEFFICIENTS,
        n_fft=FFT,
        win_length=WINDOW,
        hop_length=HOP,
        n_mels=BANDS,
    )
    slopes = librosa.feature.delta(cepstrum, width=SLOPE_FRAMES, mode="nearest")
    frames = np.concatenate([cepstrum - cepstrum.mean(axis=1, keepdims=True), slopes]).T
    norms = np.linalg.norm(frames, axis=1, keepdims=True)
    return (frames / np.maximum(norms, 1e-6)).astype(np.float32)


def _word(samples: np.ndarray) -> np.ndarray:
    """`samples` [n] brought to RATE_HZ, without the silence at both ends, at least FFT of them."""
    common = math.gcd(SAMPLE_RATE_HZ, RATE_HZ)
    sound = resample_poly(samples.astype(np.float32), RATE_HZ // common, SAMPLE_RATE_HZ // common)
    word, _ = librosa.effects.trim(sound, top_db=SILENCE_DB, frame_length=WINDOW, hop_length=HOP)
    return np.pad(word, (0, max(0, FFT - len(word))))


def warped_distances(query: np.ndarray, padded: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Warped distance from `query` [m, d] to each of `padded` [references, n, d], float32.

    Dynamic time warping with one weight for every step, cosine distance between frames, divided
    by the frames of both sayings: paths near the diagonal are the cheap ones. (The symmetric form
    of Sakoe and Chiba 1978, in which a diagonal step counts twice, named 5 of 30 words fewer for
    a speaker never heard before.) All references at once, one anti-diagonal after the other.
    """
    references, longest = padded.shape[:2]
    m = len(query)
    cost = 1 - np.tensordot(query, padded, axes=(1, 2))  # [m, references, n]
    # Row i moved by i, so that an anti-diagonal of the m x n matrices becomes one slice.
    skewed = np.full((m + longest - 1, references, m), np.inf, np.float32)
    for i, row in enumerate(cost):
        skewed[i : i + longest, :, i] = row.T
    outside = np.full((references, 1), np.inf, np.float32)
    last = np.full((references, m), np.inf, np.float32)
    before_last = last.copy()
    totals = np.zeros(references, np.float32)
    for k, step_cost in enumerate(skewed):
        along_query = np.concatenate([outside, last[:, :-1]], axis=1)
        along_both = np.concatenate([outside, before_last[:, :-1]], axis=1)
        if k == 0:
            along_both[:, 0] = 0  # where every path starts
        now = np.minimum(np.minimum(along_query, last), along_both) + step_cost
        ending = lengths + m - 2 == k
        totals[ending] = now[ending, -1]
        before_last, last = last, now
    return totals / (m + lengths)


def _power(samples: np.ndarray) -> np.ndarray:
    """Power spectrum of the word in samples [n]: float32 [FFT // 2 + 1, frames]."""
    word = _word(samples)
    return np.abs(librosa.stft(word, n_fft=FFT, win_length=WINDOW, hop_length=HOP)) ** 2


def _mel_filters(stretch: float) -> np.ndarray:
    """Mel filters [FINE_BANDS, FFT // 2 + 1] on a frequency axis stretched by `stretch`."""
    filters = librosa.filters.mel(
        sr=RATE_HZ, n_fft=FFT, n_mels=FINE_BANDS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ
    )
    bins = np.arange(filters.shape[1])
    return np.stack([np.interp(bins / stretch, bins, row, right=0) for row in filters])


def _squeezed(
    power: np.ndarray,
    filters: np.ndarray,
    *,
    noise: float = 0.0,
    cut: np.ndarray | tuple[float, float] = (0.0, 0.0),
    bend: float = 0.0,
) -> np.ndarray:
    """Cepstrum and slopes at POINTS moments of a word: float [2 COEFFICIENTS * POINTS].

    Args:
        power: of the word [FFT // 2 + 1, frames].
        noise: power added to all bands, relative to the loudest one's mean.
        cut: shares of the frames that are cut off at the start and the end.
        bend: how far the points move towards the end (or, negative, the start) in the middle.
    """
    mel = filters @ power
    mel = mel + noise * mel.mean(axis=1).max()
    first, last = round(cut[0] * mel.shape[1]), round((1 - cut[1]) * mel.shape[1])
    floor = max(mel.max() * 10 ** (FLOOR_DB / 10), np.finfo(np.float32).tiny)
    loudness_db = 10 * np.log10(np.maximum(mel[:, first:last], floor))
    cepstrum = np.asarray(dct(loudness_db, axis=0, norm="ortho"))[:COEFFICIENTS]
    cepstrum = cepstrum - cepstrum.mean(axis=1, keepdims=True)
    slopes = librosa.feature.delta(cepstrum, width=SLOPE_FRAMES, mode="nearest")
    rows = np.concatenate([cepstrum, slopes])
    frames = rows.shape[1]
    smooth = gaussian_filter1d(rows, frames / POINTS / 2, axis=1, mode="nearest")
    points = np.linspace(0, 1, POINTS)
    points = (points + bend * np.sin(np.pi * points)) * (frames - 1)
    return np.stack([np.interp(points, np.arange(frames), row) for row in smooth]).ravel()
