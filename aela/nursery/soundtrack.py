"""The sound of a video: words, the room's noise and echo, knocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, resample_poly

from aela.nursery.voice import SAMPLE_RATE as VOICE_RATE

if TYPE_CHECKING:
    from aela.nursery.script import Disturbance, Script

SAMPLE_RATE = 44100  # Hz
SPEECH_RMS = 0.08  # of a word at level 0 dB; full scale is 1
AUDIBLE_DB = -32.0  # a word lasts while it is louder than this below its peak
ECHO_SECONDS = 0.18
ECHO_DB = -22.0


@dataclass(frozen=True)
class Word:
    """A spoken word cut to what can be heard: samples at SAMPLE_RATE, RMS 1."""

    samples: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def word_from(sound: NDArray[np.float32]) -> Word:
    """Cut a voice's sound (at the voice's rate) to the audible word, by its energy."""
    samples = resample_poly(sound, SAMPLE_RATE // VOICE_RATE, 1)
    window = SAMPLE_RATE // 100
    blocks = samples[: len(samples) // window * window].reshape(-1, window)
    level = 10 * np.log10(np.mean(blocks**2, axis=1) + 1e-12)
    heard = np.flatnonzero(level > level.max() + AUDIBLE_DB)
    cut = samples[heard[0] * window : (heard[-1] + 1) * window]
    return Word((cut / np.sqrt(np.mean(cut**2))).astype(np.float32))


def mix(script: Script, rng: np.random.Generator) -> NDArray[np.float32]:
    """The whole soundtrack of a video: mono samples in [-1, 1] at SAMPLE_RATE."""
    count = round(script.duration * SAMPLE_RATE)
    speech = np.zeros(count, np.float64)
    for utterance, word in zip(script.utterances, script.words, strict=True):
        at = round(utterance.start * SAMPLE_RATE)
        loudness = SPEECH_RMS * 10 ** (utterance.level_db / 20)
        speech[at : at + len(word.samples)] += loudness * word.samples
    tail = rng.standard_normal(round(ECHO_SECONDS * SAMPLE_RATE))
    tail *= np.exp(-5 * np.linspace(0, 1, len(tail)))
    tail *= 10 ** (ECHO_DB / 20) / np.sqrt(np.sum(tail**2))
    sound = speech + fftconvolve(speech, tail)[:count]
    sound += SPEECH_RMS * 10 ** (-script.snr_db / 20) * _room_noise(count, rng)
    for disturbance in script.disturbances:
        burst = _burst(disturbance, rng)
        at = round(disturbance.start * SAMPLE_RATE)
        sound[at : at + len(burst)] += burst
    return np.clip(sound, -0.99, 0.99).astype(np.float32)


def _room_noise(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Steady noise, weaker towards high frequencies, breathing a little; RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequency = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    steepness = rng.uniform(0.3, 0.8)
    spectrum *= (np.maximum(frequency, 60) / 60) ** -steepness
    noise = np.fft.irfft(spectrum, count)
    breath = gaussian_filter1d(rng.standard_normal(count // 441 + 2), 60)
    breath = 1 + 0.12 * breath / breath.std()
    noise *= np.interp(np.arange(count) / 441, np.arange(len(breath)), breath)
    return noise / np.sqrt(np.mean(noise**2))


def _burst(disturbance: Disturbance, rng: np.random.Generator) -> NDArray[np.float64]:
    count = round((disturbance.end - disturbance.start) * SAMPLE_RATE)
    t = np.arange(count) / SAMPLE_RATE
    noise = rng.standard_normal(count)
    if disturbance.kind == "noise_burst":
        return rng.uniform(0.06, 0.12) * noise * np.sin(np.pi * np.arange(count) / count)
    wood = np.zeros(count)
    for _ in range(4):  # the resonances of a table top
        wood += np.sin(2 * np.pi * rng.uniform(90, 420) * t) * np.exp(-t * rng.uniform(25, 60))
    click = 0.5 * noise * np.exp(-t * 400)
    return rng.uniform(0.12, 0.2) * (wood + click) * np.linspace(1, 0, count)
