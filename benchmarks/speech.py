"""How well words are remembered, told apart and said again.

    python benchmarks/speech.py BENCH_FOLDER [--seeds 0 1 2] [--preset default|quick|article]

BENCH_FOLDER is told of in `benchmarks/bench.py`. The train videos are captured into a temporary
home, both autoencoders are trained on them once per seed, and each figure is printed as its mean
and standard deviation over the seeds, beside its baseline: networks that were never trained,
dynamic time warping on MFCC, and Griffin-Lim on the true mel spectrogram (the ceiling of everything
that is said).

"Signs as remembered" is what a perfect associator would reach on words never heard before: how many
signs of a test saying's code, less the mean code of memory, are those of the mean of its word's
remembered codes; "signs of the mean code" is what predicting the mean code alone would reach.
"Teacher" is the likeness that the word autoencoder learns from, measured as if it were a distance;
all that it takes for the same word ties, which lowers its average precision.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import pyarrow as pa
import torch
from scipy.fft import dct

from aela.capture import SAMPLE_RATE_HZ
from aela.evaluation.listeners import features as heard_features
from aela.evaluation.listeners import warped_distances
from aela.learning.loop import Progress
from aela.memory import manifest, store
from aela.speech import settings
from aela.speech.likeness import likeness
from aela.speech.mel_autoencoder import MelAutoencoder, train_mel_autoencoder
from aela.speech.speech import Speech, load_speech
from aela.speech.voice import to_sound
from aela.speech.word_autoencoder import WordAutoencoder, train_word_autoencoder
from aela.speech.words import features_of, remembered_words
from aela.storage import Home
from bench import Bench, remember

PRESETS = {
    "default": (settings.DEFAULT_MEL, settings.DEFAULT_WORD),
    "quick": (settings.QUICK_MEL, settings.QUICK_WORD),
    "article": (settings.ARTICLE_MEL, settings.ARTICLE_WORD),
}
CEPSTRUM_BANDS, CEPSTRUM_HIGHEST_HZ, CEPSTRUM_COEFFICIENTS = 80, 8000.0, 13
CEPSTRUM_WINDOW, CEPSTRUM_HOP = 1024, 220  # samples: 23 ms, 5 ms
CEPSTRUM_FLOOR = 1e-3  # of the loudest band: 60 dB


@dataclass(frozen=True)
class Sayings:
    """The captured clips that overlap exactly one labelled utterance, and what the labels say."""

    clips: pa.Table
    sounds: list[np.ndarray]
    words: np.ndarray
    speakers: np.ndarray
    videos: np.ndarray

    @property
    def seconds(self) -> np.ndarray:
        return self.clips["end_s"].to_numpy() - self.clips["start_s"].to_numpy()


def sayings(bench: Bench) -> tuple[Sayings, Sayings]:
    """The sayings of the train videos, and those of the test videos."""
    parts: dict[str, list] = {"train": [], "test": []}
    for label in bench.labels["videos"]:
        if label["file"] not in bench.keys:
            continue
        clips = store.read_clips(bench.home, bench.keys[label["file"]])
        for row, clip in enumerate(clips.to_pylist()):
            said = [
                u
                for u in label["utterances"]
                if min(clip["end_s"], u["end"]) > max(clip["start_s"], u["start"])
            ]
            if len(said) == 1:
                part = label["file"].split("/")[0]
                parts[part].append((clips.slice(row, 1), clip, said[0], label["file"]))
    return gather(parts["train"]), gather(parts["test"])


def gather(found: list) -> Sayings:
    sounds = []
    for _, clip, _, _ in found:
        start = round(clip["word_start_s"] * SAMPLE_RATE_HZ)
        length = round((clip["end_s"] - clip["start_s"]) * SAMPLE_RATE_HZ)
        sounds.append(store.from_flac(clip["flac"])[start : start + length])
    return Sayings(
        pa.concat_tables([table for table, *_ in found]),
        sounds,
        np.array([said["word"] for _, _, said, _ in found]),
        np.array([said["speaker"] for _, _, said, _ in found]),
        np.array([file for *_, file in found]),
    )


def dtw_distances(sounds: list[np.ndarray], references: list[np.ndarray]) -> np.ndarray:
    """[sounds, references] distances of the DTW-MFCC listener."""
    heard = [heard_features(sound) for sound in references]
    lengths = np.array([len(frames) for frames in heard])
    padded = np.zeros((len(heard), lengths.max(), heard[0].shape[1]), np.float32)
    for row, frames in zip(padded, heard, strict=True):
        row[: len(frames)] = frames
    return np.stack([warped_distances(heard_features(s), padded, lengths) for s in sounds])


def cepstrum(sound: np.ndarray) -> np.ndarray:
    """Mel-cepstral coefficients 1 to 13 of the log amplitude, [coefficients, frames]."""
    amplitude = np.abs(librosa.stft(sound, n_fft=CEPSTRUM_WINDOW, hop_length=CEPSTRUM_HOP))
    mel = librosa.feature.melspectrogram(
        S=amplitude, sr=SAMPLE_RATE_HZ, n_mels=CEPSTRUM_BANDS, fmax=CEPSTRUM_HIGHEST_HZ
    )
    log = np.log(np.maximum(mel, mel.max() * CEPSTRUM_FLOOR))
    scale = np.sqrt(2 / CEPSTRUM_BANDS)
    return scale * dct(log, axis=0, norm="ortho")[1 : 1 + CEPSTRUM_COEFFICIENTS]


def distortion_db(sound: np.ndarray, truth: np.ndarray) -> float:
    """Mel-cepstral distortion (Kubichek 1993) along the best alignment."""
    one, other = cepstrum(sound), cepstrum(truth)
    _, path = librosa.sequence.dtw(one, other)
    apart = np.linalg.norm(one[:, path[:, 0]] - other[:, path[:, 1]], axis=0)
    return float(10 / np.log(10) * np.sqrt(2) * apart.mean())


def mean_distortion_db(said: list[np.ndarray], sayings: Sayings, chosen: np.ndarray) -> float:
    """Of sounds made from the chosen sayings."""
    truth = [sayings.sounds[i] for i in chosen]
    return float(np.mean([distortion_db(s, t) for s, t in zip(said, truth, strict=True)]))


def average_precision(distances: np.ndarray, same: np.ndarray) -> float:
    """Of the same-different task: pairs sorted by distance, same pairs should come first."""
    hits = same[np.argsort(distances, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def cosine_distances(codes: np.ndarray, references: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """[codes, references] cosine distances after the mean code was taken away."""
    one, other = codes - centre, references - centre
    one = one / np.linalg.norm(one, axis=1, keepdims=True)
    return 1 - one @ (other / np.linalg.norm(other, axis=1, keepdims=True)).T


def same_different(distances: np.ndarray, one: Sayings, other: Sayings) -> dict[str, float]:
    """Average precision over the pairs from two videos, and from two speakers."""
    same = one.words[:, None] == other.words
    unique = np.ones_like(same)
    if one is other:
        unique &= np.arange(len(same))[:, None] < np.arange(len(same))
    return {
        "videos": average_precision(
            distances[pairs := unique & (one.videos[:, None] != other.videos)], same[pairs]
        ),
        "speakers": average_precision(
            distances[pairs := unique & (one.speakers[:, None] != other.speakers)], same[pairs]
        ),
    }


def named_right(distances: np.ndarray, one: Sayings, other: Sayings) -> np.ndarray:
    """Whether the nearest of `other` says the same word, bool [one]; no saying names itself."""
    distances = distances.copy()
    if one is other:
        np.fill_diagonal(distances, np.inf)
    return other.words[distances.argmin(1)] == one.words


def same_signs(codes: np.ndarray, again: np.ndarray) -> float:
    return float(((codes > 0) == (again > 0)).mean())


def figures(speech: Speech, train: Sayings, test: Sayings, sample: int) -> dict[str, float]:
    """All figures of a `Speech`; sound is made of every `sample`-th saying."""
    codes, held_out = speech.embed(train.clips), speech.embed(test.clips)
    centre = codes.mean(0)
    result = {}
    apart = cosine_distances(codes, codes, centre)
    for name, value in same_different(apart, train, train).items():
        result[f"same-different AP, train, across {name}"] = value
    new = cosine_distances(held_out, codes, centre)
    for name, value in same_different(new, test, train).items():
        result[f"same-different AP, test-train, across {name}"] = value
    meant = np.stack([codes[train.words == word].mean(0) for word in test.words])
    for video in np.unique(test.videos):
        there = test.videos == video
        right = named_right(new, test, train)[there]
        result[f"recognised by code, {video}"] = float(right.mean())
        result[f"signs as remembered, {video}"] = same_signs(
            held_out[there] - centre, meant[there] - centre
        )
    result["signs as remembered, test"] = same_signs(held_out - centre, meant - centre)
    result["signs of the mean code, test"] = same_signs(held_out, centre)

    for name, own, sayings in (("train", codes, train), ("test", held_out, test)):
        again = speech.encode_mel(speech.decode_mel(own))
        result[f"sign accuracy, {name}"] = same_signs(own, again)
        result[f"code spread, {name}"] = float(np.abs(own - own.mean(0)).mean())
        lengths = np.array([len(word) for word in speech.decode_mel(own)]) / 100
        off = np.abs(lengths / sayings.seconds - 1)
        result[f"length error, {name}, median"] = float(np.median(off))
        result[f"length error, {name}, worst"] = float(off.max())
        chosen = np.arange(0, len(own), sample)
        said = speech.speak(own[chosen])
        result[f"sign accuracy, {name}, through sound"] = same_signs(
            own[chosen], speech.embed(said)
        )
        result[f"distortion, {name}, dB"] = mean_distortion_db(said, sayings, chosen)
        distances = dtw_distances(said, train.sounds)
        if sayings is train:
            distances[np.arange(len(chosen)), chosen] = np.inf
        right = train.words[distances.argmin(1)] == sayings.words[chosen]
        result[f"named right by ear, {name}"] = float(right.mean())
    # What an average of sayings sounds like: the associator's answer lies between memories.
    means, meant = [], []
    for video in np.unique(train.videos):
        means.append(codes[train.videos == video].mean(0))
        meant.append(train.words[train.videos == video][0])
    distances = dtw_distances(speech.speak(np.stack(means)), train.sounds)
    result["mean code of a video named right by ear"] = float(
        (train.words[distances.argmin(1)] == np.array(meant)).mean()
    )
    return result


def baselines(train: Sayings, test: Sayings, sample: int) -> dict[str, float]:
    """The same figures of DTW on MFCC, and of Griffin-Lim on the true mel spectrogram."""
    result = {}
    apart = dtw_distances(train.sounds, train.sounds)
    for name, value in same_different(apart, train, train).items():
        result[f"same-different AP, train, across {name}"] = value
    new = dtw_distances(test.sounds, train.sounds)
    for name, value in same_different(new, test, train).items():
        result[f"same-different AP, test-train, across {name}"] = value
    for video in np.unique(test.videos):
        right = named_right(new, test, train)[test.videos == video]
        result[f"recognised by code, {video}"] = float(right.mean())
    for name, sayings in (("train", train), ("test", test)):
        chosen = np.arange(0, len(sayings.sounds), sample)
        said = [to_sound(word) for word in features_of(sayings.clips.take(chosen))]
        result[f"distortion, {name}, dB"] = mean_distortion_db(said, sayings, chosen)
        distances = dtw_distances(said, train.sounds)
        if sayings is train:
            distances[np.arange(len(chosen)), chosen] = np.inf
        right = train.words[distances.argmin(1)] == sayings.words[chosen]
        result[f"named right by ear, {name}"] = float(right.mean())
    return result


def teacher(home: Home, seen: manifest.Manifest, train: Sayings) -> dict[str, float]:
    """Average precision of the likenesses that the word autoencoder is taught."""
    rows = {flac: row for row, flac in enumerate(train.clips["flac"].to_pylist())}
    order = [
        rows.get(flac)
        for _, clips in manifest.rows(home, seen, "clip", ["flac"])
        for flac in clips["flac"].to_pylist()
    ]
    alike = likeness(remembered_words(home, seen), np.random.default_rng(0))
    known = np.array([at for at, row in enumerate(order) if row is not None])
    distances = np.zeros((len(train.words), len(train.words)))
    back = [order[at] for at in known]
    distances[np.ix_(back, back)] = -alike[np.ix_(known, known)]
    return {
        f"same-different AP, train, across {name}": value
        for name, value in same_different(distances, train, train).items()
    }


def untrained(mel: settings.MelAutoencoderSettings, word: settings.WordAutoencoderSettings):
    torch.manual_seed(0)
    return Speech(
        WordAutoencoder(word, mel.code).eval().requires_grad_(False),
        MelAutoencoder(mel).eval().requires_grad_(False),
        "cpu",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--preset", choices=PRESETS, default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sample", type=int, default=2, help="make sound of every n-th clip")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mel_settings, word_settings = PRESETS[arguments.preset]
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder)
        train, test = sayings(remember(home, arguments.folder))
        seen = manifest.take(home)
        print(f"{len(train.words)} training clips, {len(test.words)} test clips")
        seeds: list[dict[str, float]] = []
        columns = {
            "DTW, true mel": baselines(train, test, arguments.sample),
            "teacher": teacher(home, seen, train),
            "untrained": figures(
                untrained(mel_settings, word_settings), train, test, arguments.sample
            ),
        }
        for seed in arguments.seeds:
            started, cpu = time.monotonic(), time.process_time()
            mel = train_mel_autoencoder(home, seen, mel_settings, seed=seed, report=show)
            word = train_word_autoencoder(home, seen, mel, word_settings, seed=seed, report=show)
            print(
                f"seed {seed}: trained in {time.monotonic() - started:.0f} s "
                f"({time.process_time() - cpu:.0f} s of processor)"
            )
            speech = load_speech(home, word.sha)
            seeds.append(figures(speech, train, test, arguments.sample))
        names = list(seeds[0])
        values = np.array([[found[name] for name in names] for found in seeds])
        columns["mean"] = dict(zip(names, values.mean(0), strict=True))
        columns["+-"] = dict(zip(names, values.std(0), strict=True))
        print(f"{'':55}" + "".join(f"{name:>15}" for name in columns))
        for name in dict.fromkeys(name for found in columns.values() for name in found):
            shown = [found.get(name) for found in columns.values()]
            print(f"{name:55}" + "".join(f"{'':>15}" if v is None else f"{v:15.3f}" for v in shown))


def show(progress: Progress) -> None:
    if progress.spent in (0.0, 1.0) or progress.step == 1:
        print(progress)


if __name__ == "__main__":
    main()
