"""Which remembered words sound alike, found by ear alone: no labels, no text, no pictures.

Words are compared by dynamic time warping on mel-frequency cepstra (Sakoe, Chiba 1978; Davis,
Mermelstein 1980), which puts the same voice saying another word before another voice saying the
same word. Two steps make up for much of that. Somebody who names a thing repeats the word within
seconds, so the distance of two words is averaged over their likenesses in their own videos. And
a word's distances are measured by how far its own neighbours are (the cross-domain local scaling
of Conneau et al. 2018), since some words are near to everything.
"""

import librosa
import numpy as np
from scipy.fft import dct

from aela.speech.words import Word

MOST_COMPARED = 600  # words, which takes about 20 s
UNKNOWN = -1.0

COEFFICIENTS = 12
HIGHEST_BAND = 104  # about 8 kHz: above it recordings differ more than words
SLOPE_FRAMES = 9
SLOPE_WEIGHT = 2.0
LIKENESS_SPREAD = 1.5  # in medians of the distance to the nearest word
NEIGHBOURS = 20
ALIKE_QUANTILE, UNLIKE_QUANTILE = 0.02, 0.5  # of the distances: likeness 1, and likeness 0


def likeness(words: list[Word], rng: np.random.Generator) -> np.ndarray:
    """How alike words sound, float32 [words, words]: 1 for the same, 0 for the unlike half.

    The time it takes grows with the square of the number of words: 1 s for 130. Of more than
    MOST_COMPARED that many are drawn; for the others nothing is known, which is UNKNOWN.
    """
    alike = np.full((len(words), len(words)), UNKNOWN, np.float32)
    drawn = np.sort(rng.permutation(len(words))[:MOST_COMPARED])
    alike[np.ix_(drawn, drawn)] = _likeness([words[i] for i in drawn])
    np.fill_diagonal(alike, 1.0)
    return alike


def _likeness(words: list[Word]) -> np.ndarray:
    count = len(words)
    frames = [cepstra(word.features) for word in words]
    distances = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            distances[i, j] = distances[j, i] = warped_distance(frames[i], frames[j])
    videos = np.array([word.video for word in words])
    apart = ~np.eye(count, dtype=bool)
    nearest = np.where(apart, distances, np.inf).min(1)
    spread = LIKENESS_SPREAD * max(float(np.median(nearest)), 1e-6)
    weights = np.where(videos[:, None] == videos, np.exp(-((distances / spread) ** 2)), 0.0)
    weights /= weights.sum(1, keepdims=True)
    averaged = weights @ distances @ weights.T
    around = min(NEIGHBOURS, count - 1)
    own = np.sort(np.where(apart, averaged, np.inf), 1)[:, :around].mean(1)
    scaled = averaged - (own[:, None] + own) / 2
    low, high = np.quantile(scaled[apart], [ALIKE_QUANTILE, UNLIKE_QUANTILE])
    return np.clip((high - scaled) / max(high - low, 1e-6), 0, 1) ** 2


def cepstra(features: np.ndarray) -> np.ndarray:
    """Log-mel features [frames, BANDS] -> unit vectors of cepstra and slopes, float32 [frames, 24].

    The mean of the word is taken away, and with it the constant colour of voice and room.
    """
    spectrum = np.asarray(dct(features[:, :HIGHEST_BAND], axis=1, norm="ortho"))
    cepstrum = spectrum[:, :COEFFICIENTS].T
    slopes = librosa.feature.delta(cepstrum, width=SLOPE_FRAMES, mode="nearest")
    centred = cepstrum - cepstrum.mean(axis=1, keepdims=True)
    frames = np.concatenate([centred, SLOPE_WEIGHT * slopes]).T
    norms = np.linalg.norm(frames, axis=1, keepdims=True)
    return (frames / np.maximum(norms, 1e-6)).astype(np.float32)


def warped_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Least sum of cosine distances along a warping path, per frame of both words."""
    total = librosa.sequence.dtw(C=1 - one @ other.T, backtrack=False)[-1, -1]
    return float(total) / (len(one) + len(other))
