"""Quality of the capture: how well spoken words are found, and frames chosen.

    python benchmarks/capture_quality.py BENCH_FOLDER

BENCH_FOLDER holds a `labels.json` with, for each video, `file`, `duration`, `utterances`
({start, end}) and `blur_intervals`, in seconds. The sound of the videos is decoded once; harder
sound is made from it with fixed seeds. Of each kind of sound, AELA's word finder and its peers get
the same samples, and a clip and an utterance match when they overlap; each utterance counts once,
further clips on it are wrong.

The peers are helped: of `librosa.effects.split` the `top_db` and of WebRTC's voice activity
detection the aggressiveness is taken that scores best (F1) on that very sound, and from both, as
from AELA's finder, pauses up to 0.3 s are bridged and sounds under 0.12 s left out.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import av
import librosa
import numpy as np
import webrtcvad
from scipy.signal import lfilter, resample_poly

from aela.capture import SAMPLE_RATE_HZ, CaptureSettings, Clip, Frame, capture
from aela.capture.hearing import WordFinder

SETTINGS = CaptureSettings()
PIECE = 1024  # samples pushed at once, as an AAC decoder gives them

TOP_DB = (6, 10, 15, 20, 25, 30, 35, 40, 50)  # librosa's default is 60
AGGRESSIVENESS = (0, 1, 2, 3)
WEBRTC_HZ, WEBRTC_HOP_S = 16_000, 0.01

Span = tuple[float, float]  # seconds


@dataclass(frozen=True)
class Recording:
    """The sound of one video, float32 mono [n] at 44,100 Hz, and when its words are spoken."""

    file: str
    samples: np.ndarray
    words: list[Span]

    @property
    def speech_power(self) -> float:
        """Mean square of the samples while a word is spoken."""
        rate = SAMPLE_RATE_HZ
        spoken = [self.samples[round(a * rate) : round(b * rate)] for a, b in self.words]
        return float(np.square(np.concatenate(spoken)).mean())


@dataclass
class Score:
    """Counts over recordings; errors are seconds, found minus labelled."""

    words: int = 0
    clips: int = 0
    right: int = 0
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, file: str, words: list[Span], clips: Iterable[Span]) -> None:
        """Counts the clips found in one recording, in time order."""
        found: set[int] = set()
        for start, end in clips:
            self.clips += 1
            hits = (i for i, (a, b) in enumerate(words) if min(end, b) > max(start, a))
            new = next((i for i in hits if i not in found), None)
            if new is None:
                self.faults.append(f"wrong clip in {file}: {start:.2f} to {end:.2f} s")
                continue
            found.add(new)
            self.starts.append(start - words[new][0])
            self.ends.append(end - words[new][1])
        self.words += len(words)
        self.right += len(found)
        self.faults += [
            f"missed in {file}: {a:.2f} to {b:.2f} s"
            for i, (a, b) in enumerate(words)
            if i not in found
        ]

    @property
    def recall(self) -> float:
        return self.right / max(self.words, 1)

    @property
    def precision(self) -> float:
        return self.right / max(self.clips, 1)

    @property
    def f1(self) -> float:
        return 2 * self.right / max(self.words + self.clips, 1)

    @property
    def bounds_s(self) -> np.ndarray:
        """Sizes of the errors of all bounds."""
        return np.abs(self.starts + self.ends)

    def __str__(self) -> str:
        median = f"{1000 * np.median(self.bounds_s):.0f} ms" if self.right else "–"
        return f"{self.recall:.1%} / {self.precision:.1%} / {median}"


# What is heard


def decoded(path: Path) -> np.ndarray:
    """The sound of a video as the capture hears it."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(str(path)) as container:
        frames = [*container.decode(audio=0), None]
        pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)]
    return np.concatenate(pieces)


def coloured(n: int, rng: np.random.Generator, gain: Callable[[np.ndarray], np.ndarray]):
    """Noise of mean square 1, float32 [n], whose spectrum is shaped by `gain` of the Hz."""
    spectrum = np.fft.rfft(rng.normal(size=n).astype(np.float32))
    spectrum *= gain(np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE_HZ), 1))
    noise = np.fft.irfft(spectrum, n)
    return (noise / noise.std()).astype(np.float32)


def pink(n: int, rng: np.random.Generator) -> np.ndarray:
    """The noise of a room: equal power in every octave from 50 Hz."""
    return coloured(n, rng, lambda hz: np.where(hz > 50, hz**-0.5, 0))


def fan(n: int, rng: np.random.Generator) -> np.ndarray:
    """A fan: rushing air below about 1 kHz, and its blades at 110 Hz."""
    air = coloured(n, rng, lambda hz: np.where(hz > 40, 1 / (1 + (hz / 500) ** 1.5), 0))
    return 0.95 * air + 0.3 * hum(n, 110.0, 4)


def hum(n: int, hz: float, harmonics: int) -> np.ndarray:
    """A steady hum of mean square 1; each harmonic is weaker than the one before."""
    phase = 2 * np.pi * hz / SAMPLE_RATE_HZ * np.arange(n)
    wave = sum(np.sin(k * phase + k * k) / k for k in range(1, harmonics + 1))
    return (wave / np.std(wave)).astype(np.float32)


def music(n: int, rng: np.random.Generator) -> np.ndarray:
    """Chords, a melody and a beat at 100 beats a minute, of mean square 1."""
    rate, beat_s = SAMPLE_RATE_HZ, 0.6
    out = np.zeros(n + 5 * rate)

    def note(at_s: float, semitones: float, seconds: float, loudness: float, decay_s: float):
        t = np.arange(round(seconds * rate)) / rate
        hz = 220 * 2 ** (semitones / 12) * (1 + 0.004 * np.sin(2 * np.pi * 5 * t))
        phase = 2 * np.pi * np.cumsum(hz) / rate
        tone = sum(np.sin(k * phase) / k**1.5 for k in range(1, 9))
        shape = np.minimum(1, np.minimum(t / 0.02, (seconds - t) / 0.05)) * np.exp(-t / decay_s)
        start = round(at_s * rate)
        out[start : start + len(t)] += loudness * shape * tone

    def hit(at_s: float, seconds: float, loudness: float, sharpness: float):
        t = np.arange(round(5 * seconds * rate)) / rate
        drum = np.sin(2 * np.pi * 60 * t) * (1 - sharpness)
        hiss = lfilter([1, -sharpness], [1], rng.normal(size=len(t))) * sharpness
        start = round(at_s * rate)
        out[start : start + len(t)] += loudness * (drum + hiss) * np.exp(-t / seconds)

    chords = ((0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2))
    scale = (0, 2, 4, 7, 9, 12, 14, 16)
    place = 3
    for beat in range(int(n / rate / beat_s) + 1):
        at_s = beat * beat_s
        if beat % 4 == 0:
            for tone in (*chords[beat // 4 % 4], chords[beat // 4 % 4][0] - 12):
                note(at_s, tone, 4 * beat_s, 0.5, 4.0)
        for half in range(2):
            if rng.random() < 0.75:
                place = int(np.clip(place + rng.integers(-2, 3), 0, len(scale) - 1))
                seconds = beat_s * rng.choice([0.5, 1.0])
                note(at_s + half * beat_s / 2, 12 + scale[place], seconds, 0.5, 0.6)
            hit(at_s + half * beat_s / 2, 0.02, 0.25, 0.95)
        hit(at_s, 0.08, 1.5, 0.0) if beat % 2 == 0 else hit(at_s, 0.05, 0.5, 0.7)
    out = out[:n]
    return (out / out.std()).astype(np.float32)


def starting_midway(noise: np.ndarray) -> np.ndarray:
    """The same noise, which runs up within a second at the middle."""
    since_s = (np.arange(len(noise)) - len(noise) / 2) / SAMPLE_RATE_HZ
    return noise * np.clip(since_s, 0, 1).astype(np.float32)


# What is added to the sound, with a mean square of 1 for that of the words.
Added = Callable[[int, np.random.Generator], np.ndarray]


def at(db: float, make: Added) -> Added:
    return lambda n, rng: 10 ** (db / 20) * make(n, rng)


KINDS: dict[str, Added] = {
    "clean": lambda n, rng: np.zeros(n, np.float32),
    "pink noise, SNR 15 dB": at(-15, pink),
    "pink noise, SNR 10 dB": at(-10, pink),
    "pink noise, SNR 5 dB": at(-5, pink),
    "mains hum as loud as the words, and a fan at 15 dB": lambda n, rng: (
        hum(n, 50.0, 12) + 10 ** (-15 / 20) * fan(n, rng)
    ),
    "a fan starts midway, 10 dB": at(-10, lambda n, rng: starting_midway(fan(n, rng))),
    "music underneath, 15 dB": at(-15, music),
    "music underneath, 10 dB": at(-10, music),
}


def mixed(recording: Recording, added: Added, seed: int) -> Recording:
    """The recording with what is added to it, at most at full scale."""
    noise = added(len(recording.samples), np.random.default_rng(seed))
    samples = recording.samples + noise * np.float32(recording.speech_power**0.5)
    return Recording(
        recording.file, samples / np.float32(max(1, np.abs(samples).max())), recording.words
    )


# What listens


def finder_spans(samples: np.ndarray) -> list[Span]:
    """Words by AELA's finder."""
    finder = WordFinder(SETTINGS, 0.0)
    found = []
    for start in range(0, len(samples), PIECE):
        found += finder.push(samples[start : start + PIECE])
    found += finder.flush()
    return [(clip.start_s, clip.end_s) for clip in found if isinstance(clip, Clip)]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans without their short pauses, and without short sounds."""
    whole: list[Span] = []
    for start, end in spans:
        if whole and start - whole[-1][1] <= SETTINGS.longest_pause_s:
            start = whole.pop()[0]
        whole.append((start, end))
    return [(a, b) for a, b in whole if b - a >= SETTINGS.shortest_word_s]


def librosa_spans(samples: np.ndarray, top_db: float) -> list[Span]:
    """Sounds at most `top_db` below the loudest, in windows of 23 ms."""
    found = librosa.effects.split(samples, top_db=top_db, frame_length=1024, hop_length=441)
    return joined((int(a) / SAMPLE_RATE_HZ, int(b) / SAMPLE_RATE_HZ) for a, b in found)


def webrtc_spans(samples: np.ndarray, aggressiveness: int) -> list[Span]:
    """Speech by WebRTC's voice activity detection."""
    voice = webrtcvad.Vad(aggressiveness)
    low = resample_poly(samples, 160, 441)
    data = (np.clip(low, -1, 1) * 32767).astype(np.int16)
    hop = round(WEBRTC_HZ * WEBRTC_HOP_S)
    pieces = data[: len(data) // hop * hop].reshape(-1, hop)
    spoken = [voice.is_speech(piece.tobytes(), WEBRTC_HZ) for piece in pieces]
    edges = np.flatnonzero(np.diff([0, *spoken, 0])).reshape(-1, 2) * WEBRTC_HOP_S
    return joined((float(a), float(b)) for a, b in edges)


def score(recordings: list[Recording], find: Callable[[np.ndarray], list[Span]]) -> Score:
    total = Score()
    for recording in recordings:
        total.add(recording.file, recording.words, find(recording.samples))
    return total


def best(
    recordings: list[Recording],
    find: Callable[[np.ndarray, int], list[Span]],
    options: Iterable[int],
) -> tuple[Score, int]:
    """The best score over the options, and its option."""
    scores = {
        option: score(recordings, lambda samples, option=option: find(samples, option))
        for option in options
    }
    option = max(scores, key=lambda option: scores[option].f1)
    return scores[option], option


# What is printed


def print_words(folder: Path, videos: list[dict], faults: bool) -> None:
    """Scores word finding on every kind of sound, as a Markdown table."""
    clean = [
        Recording(
            video["file"],
            decoded(folder / video["file"]),
            [(word["start"], word["end"]) for word in video["utterances"]],
        )
        for video in videos
        if video["utterances"]
    ]
    seconds = sum(len(recording.samples) for recording in clean) / SAMPLE_RATE_HZ
    words = sum(len(recording.words) for recording in clean)
    print(f"{words} words in {len(clean)} recordings, {seconds:.0f} s\n")
    print("recall / precision / median error of a bound:\n")
    print("| sound | AELA | `librosa.effects.split` (`top_db`) | WebRTC (aggressiveness) |")
    print("|---|---|---|---|")
    finder_s = 0.0
    missed: dict[str, list[str]] = {}
    for kind, added in KINDS.items():
        heard = [mixed(recording, added, seed) for seed, recording in enumerate(clean)]
        started = time.process_time()
        own = score(heard, finder_spans)
        finder_s += time.process_time() - started
        split, top_db = best(heard, librosa_spans, TOP_DB)
        webrtc, aggressiveness = best(heard, webrtc_spans, AGGRESSIVENESS)
        print(f"| {kind} | {own} | {split} ({top_db}) | {webrtc} ({aggressiveness}) |", flush=True)
        missed[kind] = own.faults
    print(f"\nThe finder alone: {len(KINDS) * seconds / finder_s:.0f}x real time")
    if faults:
        for kind, lines in missed.items():
            print(f"\n{kind}:", *lines, sep="\n    ")


def print_capture(folder: Path, videos: list[dict]) -> None:
    """Scores the words and the frames of the whole capture, at its default of 1 frame a second."""
    words, counts = Score(), Counter()
    for video in videos:
        kept = list(capture(folder / video["file"], SETTINGS))
        spans = [(item.start_s, item.end_s) for item in kept if isinstance(item, Clip)]
        words.add(video["file"], [(w["start"], w["end"]) for w in video["utterances"]], spans)
        blurred = video["blur_intervals"]
        times = [item.time_s for item in kept if isinstance(item, Frame)]
        counts["frames"] += len(times)
        counts["blurred"] += sum(any(a <= t <= b for a, b in blurred) for t in times)
        counts["sharp s"] += video["duration"] - sum(b - a for a, b in blurred)
    print(f"\nThe whole capture, {len(videos)} videos: words {words}, 95 % of the bounds within")
    print(f"{1000 * np.quantile(words.bounds_s, 0.95):.0f} ms;")
    print(f"of the kept frames {counts['blurred'] / counts['frames']:.1%} are blurred;")
    print(f"{counts['frames'] / counts['sharp s']:.2f} frames kept per sharp second")


def print_quality(folder: Path, faults: bool = False) -> None:
    """Scores every labelled video of the folder."""
    videos = json.loads((folder / "labels.json").read_text())["videos"]
    print_words(folder, videos, faults)
    print_capture(folder, videos)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Quality of the capture.")
    parser.add_argument("bench_folder", type=Path, help="folder with labels.json and the videos")
    parser.add_argument("--faults", action="store_true", help="list what the finder got wrong")
    arguments = parser.parse_args()
    print_quality(arguments.bench_folder, arguments.faults)
