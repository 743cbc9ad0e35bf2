"""Which remembered words sound alike, found by ear alone: no labels, no text, no pictures.

Words are compared by dynamic time warping on mel-frequency cepstra (Sakoe, Chiba 1978; Davis,
Mermelstein 1980), which puts the same voice saying another word before another voice saying the
same word. Three steps make up for much of that:

- One word is also heard through a shorter and a longer vocal tract, and the nearest counts
  (vocal tract length normalisation: Lee, Rose 1998).
- Somebody who names a thing repeats the word within seconds, so the distance of two words is
  averaged over their likenesses in their own videos.
- A word's distances are measured by how far its own neighbours are (the cross-domain local scaling
  of Conneau et al. 2018), twice, since some words are near to everything.
"""

import librosa
import numpy as np

from aela.speech.words import LISTENING_HZ, Word

MOST_COMPARED = 400  # words, which takes about half a minute
UNKNOWN = -1.0

# A window shorter than the pitch period of most voices does not see their pitch.
WINDOW = 160  # samples: 10 ms
FFT = 512  # samples
HOP = 160  # samples: 10 ms
BANDS = 26
COEFFICIENTS = 10
SLOPE_FRAMES = 9
TRACTS = (1.0, 0.9, 1.1)  # factors of the frequencies; the word itself comes first
LIKENESS_SPREAD = 1.5  # in medians of the distance to the nearest word
NEIGHBOURS = 20
SCALINGS = 2
UNLIKE_QUANTILE = 0.97  # of the distances, mirrored at their median


def likeness(words: list[Word], rng: np.random.Generator) -> np.ndarray:
    """How alike words sound, float32 [words, words]: 1 for the same, 0 for the unlike half.

    How many words are the same is not known. The far half of the distances is all between unlike
    words, whose near half would mirror it: what is nearer than the mirrored tail is the same (as
    target-decoy competition tells hits from chance: Elias, Gygi 2007).

    The time it takes grows with the square of the number of words: 3 s for 130. Of more than
    MOST_COMPARED that many are drawn; for the others nothing is known, which is UNKNOWN.
    """
    alike = np.full((len(words), len(words)), UNKNOWN, np.float32)
    drawn = np.sort(rng.permutation(len(words))[:MOST_COMPARED])
    alike[np.ix_(drawn, drawn)] = _likeness([words[i] for i in drawn])
    np.fill_diagonal(alike, 1.0)
    return alike


def _likeness(words: list[Word]) -> np.ndarray:
    count = len(words)
    heard = [[cepstra(word.sound, tract) for tract in TRACTS] for word in words]
    distances = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            through = [warped_distance(frames, heard[j][0]) for frames in heard[i]]
            distances[i, j] = distances[j, i] = min(through)
    videos = np.array([word.video for word in words])
    apart = ~np.eye(count, dtype=bool)
    nearest = np.where(apart, distances, np.inf).min(1)
    spread = LIKENESS_SPREAD * max(float(np.median(nearest)), 1e-6)
    weights = np.where(videos[:, None] == videos, np.exp(-((distances / spread) ** 2)), 0.0)
    weights /= weights.sum(1, keepdims=True)
    scaled = weights @ distances @ weights.T
    around = min(NEIGHBOURS, count - 1)
    for _ in range(SCALINGS):
        own = np.sort(np.where(apart, scaled, np.inf), 1)[:, :around].mean(1)
        scaled = scaled - (own[:, None] + own) / 2
    middle, tail = np.quantile(scaled[apart], [0.5, UNLIKE_QUANTILE])
    return np.clip((middle - scaled) / max(tail - middle, 1e-6), 0, 1) ** 2


def cepstra(sound: np.ndarray, tract: float = 1.0) -> np.ndarray:
    """Unit vectors of cepstra and their slopes, float32 [frames, 2 COEFFICIENTS].

    The mean of the word is taken away, and with it the constant colour of voice and room.

    Args:
        sound: float32 mono [n] at LISTENING_HZ.
        tract: factor of the frequencies, below 1 as from a shorter vocal tract.
    """
    spectrum = np.abs(librosa.stft(sound, n_fft=FFT, win_length=WINDOW, hop_length=HOP)) ** 2
    bins = np.arange(len(spectrum))
    read = np.minimum(bins * tract, bins[-1])
    lower = np.minimum(read.astype(int), bins[-1] - 1)
    share = (read - lower)[:, None]
    warped = spectrum[lower] * (1 - share) + spectrum[lower + 1] * share
    mel = librosa.feature.melspectrogram(S=warped, sr=LISTENING_HZ, n_mels=BANDS)
    cepstrum = librosa.feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=COEFFICIENTS)
    slopes = librosa.feature.delta(cepstrum, width=SLOPE_FRAMES, mode="nearest")
    frames = np.concatenate([cepstrum - cepstrum.mean(axis=1, keepdims=True), slopes]).T
    norms = np.linalg.norm(frames, axis=1, keepdims=True)
    return (frames / np.maximum(norms, 1e-6)).astype(np.float32)


def warped_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Least sum of cosine distances along a warping path, per frame of both words."""
    total = librosa.sequence.dtw(C=1 - one @ other.T, backtrack=False)[-1, -1]
    return float(total) / (len(one) + len(other))
