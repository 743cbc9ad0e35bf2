"""The word finder in hard sound: noise, hum, fans, music, knocks, long speech, clipping."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from aela.capture import SAMPLE_RATE_HZ, CaptureSettings, Clip, Rejection
from aela.capture.hearing import WordFinder
from tests.capture.media import voice

RATE_HZ = SAMPLE_RATE_HZ
SECONDS = 18.0
WORDS_S = ((2.0, 2.6), (5.0, 5.45), (8.5, 9.3), (12.0, 12.6), (15.5, 16.2))


@cache
def word(seconds: float, pitch_hz: float = 120.0) -> np.ndarray:
    """A word-like sound, float32, mean square 0.01."""
    sound = voice(seconds, pitch_hz)
    return 0.1 * sound / sound.std()


def spoken() -> np.ndarray:
    """The words of WORDS_S in silence."""
    samples = np.zeros(round(SECONDS * RATE_HZ), np.float32)
    for number, (start, end) in enumerate(WORDS_S):
        sound = word(end - start, 100 + 30 * number)
        samples[round(start * RATE_HZ) :][: len(sound)] += sound
    return samples


def pink() -> np.ndarray:
    """Noise with equal power in every octave, mean square 1."""
    n = round(SECONDS * RATE_HZ)
    hz = np.maximum(np.fft.rfftfreq(n, 1 / RATE_HZ), 50)
    noise = np.fft.irfft(np.fft.rfft(np.random.default_rng(1).normal(size=n)) / np.sqrt(hz), n)
    return (noise / noise.std()).astype(np.float32)


def mains_hum() -> np.ndarray:
    """50 Hz and its harmonics, mean square 1."""
    t = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    wave = np.sum([np.sin(2 * np.pi * 50 * k * t + k * k) / k for k in range(1, 12)], axis=0)
    return (wave / np.std(wave)).astype(np.float32)


def music() -> np.ndarray:
    """A chord every 1.2 s and a note of a melody every 0.3 s, mean square 1."""
    t = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    rng = np.random.default_rng(2)
    out = np.zeros_like(t)
    for every_s, tones in ((1.2, (0, 4, 7)), (0.3, (12,))):
        for start_s in np.arange(0, SECONDS - every_s, every_s):
            piece = slice(round(start_s * RATE_HZ), round((start_s + every_s) * RATE_HZ))
            since_s = t[piece] - start_s
            shape = np.minimum(1, np.minimum(since_s, every_s - since_s) / 0.02)
            step = rng.choice([-5, -3, 0, 2, 4])
            for tone in tones:
                hz = 220 * 2 ** ((tone + step) / 12)
                for harmonic in range(1, 6):
                    out[piece] += (
                        shape * np.sin(2 * np.pi * harmonic * hz * since_s) / harmonic**1.5
                    )
    return (out / out.std()).astype(np.float32)


def knocks() -> np.ndarray:
    """A hit on wood in each second without a word, as loud as a word."""
    samples = np.zeros(round(SECONDS * RATE_HZ), np.float32)
    t = np.arange(RATE_HZ // 4) / RATE_HZ
    hit = sum(np.sin(2 * np.pi * hz * t) for hz in (180, 410, 730)) * np.exp(-t / 0.015)
    for start_s in (0.8, 3.8, 7.0, 10.5, 14.0):
        samples[round(start_s * RATE_HZ) :][: len(hit)] += (0.15 * hit).astype(np.float32)
    return samples


def since_middle(noise: np.ndarray) -> np.ndarray:
    """The noise from the middle on, running up within half a second."""
    t = (np.arange(len(noise)) / RATE_HZ - SECONDS / 2 - 1) * 2
    return noise * np.clip(t, 0, 1).astype(np.float32)


def heard(samples: np.ndarray, piece: int = 1024) -> list[Clip | Rejection]:
    """What the finder finds in the samples, given in small pieces."""
    finder = WordFinder(CaptureSettings(), 0.0)
    found: list[Clip | Rejection] = []
    for start in range(0, len(samples), piece):
        found += finder.push(samples[start : start + piece])
    return [*found, *finder.flush()]


def clips(found: list[Clip | Rejection]) -> list[Clip]:
    return [item for item in found if isinstance(item, Clip)]


BASE = 0.1 * 10 ** (-30 / 20) * pink()


@pytest.mark.parametrize(
    ("added", "off_s"),
    [
        (BASE, 0.04),
        (0.1 * 10 ** (-10 / 20) * pink(), 0.12),
        (0.1 * 10 ** (-5 / 20) * pink(), 0.25),
        (BASE + 0.1 * mains_hum(), 0.15),
        (BASE + since_middle(0.1 * 10 ** (-10 / 20) * pink()), 0.15),
        (BASE + 0.1 * 10 ** (-12 / 20) * music(), 0.3),
        (BASE + knocks(), 0.04),
    ],
    ids=["quiet room", "noise", "loud noise", "hum", "a fan starts", "music", "knocks"],
)
def test_words_and_only_words_are_found(added: np.ndarray, off_s: float) -> None:
    found = clips(heard(spoken() + added))
    assert len(found) == len(WORDS_S)
    for clip, (start_s, end_s) in zip(found, WORDS_S, strict=True):
        assert clip.start_s == pytest.approx(start_s, abs=off_s)
        assert clip.end_s == pytest.approx(end_s, abs=off_s)


@pytest.mark.parametrize(
    "samples",
    [
        0.05 * pink(),
        0.2 * mains_hum() + BASE,
        0.03 * music() + BASE,
        since_middle(0.1 * pink()) + BASE,
        BASE + knocks(),
        np.zeros(round(SECONDS * RATE_HZ), np.float32),
    ],
    ids=["noise", "hum", "music", "a fan starts", "knocks", "digital silence"],
)
def test_where_nobody_speaks_there_is_no_clip(samples: np.ndarray) -> None:
    assert not clips(heard(samples))


def test_knocks_are_logged_as_such() -> None:
    reasons = [item.reason for item in heard(BASE + knocks()) if isinstance(item, Rejection)]
    assert reasons == ["knock"] * 5


def test_words_after_minutes_of_digital_silence_are_found() -> None:
    muted = np.zeros(20 * RATE_HZ, np.float32)
    found = clips(heard(np.concatenate([muted, spoken() + BASE, muted, spoken()])))
    ends_s = [20 + start for start, _ in WORDS_S]
    again_s = [40 + SECONDS + start for start, _ in WORDS_S]
    assert [clip.start_s for clip in found] == pytest.approx(ends_s + again_s, abs=0.08)


def test_overdriven_words_are_found() -> None:
    found = clips(heard(np.clip(20 * (spoken() + BASE), -1, 1)))
    assert [clip.start_s for clip in found] == pytest.approx([a for a, _ in WORDS_S], abs=0.06)
    assert all(np.abs(clip.samples).max() <= 1 for clip in found)


def test_samples_that_are_no_numbers_do_no_harm() -> None:
    samples = spoken() + BASE
    samples[RATE_HZ // 2 : RATE_HZ // 2 + 100] = np.nan
    samples[RATE_HZ : RATE_HZ + 10] = np.inf
    assert len(clips(heard(samples))) >= len(WORDS_S) - 1
    assert all(np.isfinite(clip.samples).all() for clip in clips(heard(samples)))


@pytest.mark.parametrize("gap_s", [0.12, 0.2])
def test_sentences_are_cut_at_pauses_into_clips_of_ten_seconds(gap_s: float) -> None:
    # Words in a row for half a minute, with gaps shorter than a pause: only the length cuts.
    syllables = [word(0.35 + 0.1 * (number % 4), 100 + 30 * (number % 2)) for number in range(45)]
    samples, spans = [np.zeros(2 * RATE_HZ, np.float32)], []
    at_s = 2.0
    for syllable in syllables:
        samples += [syllable, np.zeros(round(gap_s * RATE_HZ), np.float32)]
        spans.append((at_s, at_s + len(syllable) / RATE_HZ))
        at_s = sum(map(len, samples)) / RATE_HZ
    speech = np.concatenate([*samples, np.zeros(2 * RATE_HZ, np.float32)])
    noise = np.random.default_rng(3).normal(0, 0.002, len(speech)).astype(np.float32)
    found = clips(heard(speech + noise))
    assert all(clip.end_s - clip.start_s <= 10 for clip in found)
    assert all(after.start_s >= before.end_s for before, after in pairwise(found))
    for before in found[:-1]:
        inside = [a for a, b in spans if a + 0.05 < before.end_s < b - 0.05]
        assert not inside, f"cut at {before.end_s:.2f} s inside a word"
    covered_s = sum(clip.end_s - clip.start_s for clip in found)
    assert covered_s > 0.85 * sum(b - a for a, b in spans)


def test_the_finder_holds_a_bounded_stretch_of_sound() -> None:
    finder = WordFinder(CaptureSettings(), 0.0)
    minute = np.tile(spoken() + BASE, 3)
    list(finder.push(minute))
    held = len(finder.samples)
    list(finder.push(minute))
    assert len(finder.samples) <= held + RATE_HZ < 30 * RATE_HZ
