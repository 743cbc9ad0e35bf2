"""The nursery's voices: words spoken by espeak-ng, from the wheel `espeakng-loader`.

Header followed: espeak-ng's `speak_lib.h`.
"""

import ctypes
import importlib.util
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 22050  # Hz, espeak-ng's own

_AUDIO_OUTPUT_RETRIEVAL = 1  # hand the samples to a callback instead of playing them
_INITIALIZE_DONT_EXIT = 0x8000  # report missing data instead of ending the process
_CHARS_UTF8 = 1
_NOISE_SEED = 1  # of the breath in a voice; espeak-ng would take the time of day
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class VoiceError(RuntimeError):
    """espeak-ng is not there, or cannot speak as asked."""


@dataclass(frozen=True)
class Saying:
    """One spoken word: its text, an espeak-ng voice such as `en-us+f3`, the speed in words per
    minute (80 to 450) and the pitch (0 to 99)."""

    text: str
    voice: str
    words_per_minute: int = 160
    pitch: int = 50


def check_installed() -> None:
    """Raise VoiceError with what to do when the voices are not installed."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise VoiceError(
            "The nursery's voices are not installed: run `pip install 'aela[nursery]'`."
        )


def speak(sayings: Sequence[Saying]) -> list[NDArray[np.float32]]:
    """The sound of each saying: mono samples in [-1, 1] at SAMPLE_RATE.

    espeak-ng carries the state of its oscillators from word to word, so the sounds of a list are
    always made by one fresh process: the same list gives the same samples.
    """
    check_installed()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as process:
        return process.submit(_speak_all, list(sayings)).result()


def _speak_all(sayings: list[Saying]) -> list[NDArray[np.float32]]:
    import espeakng_loader

    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except OSError as error:
        raise VoiceError(f"espeak-ng does not load on this machine: {error}") from error
    data = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_AUDIO_OUTPUT_RETRIEVAL, 0, data, _INITIALIZE_DONT_EXIT)
    if rate != SAMPLE_RATE:
        raise VoiceError(f"espeak-ng did not start: it answered {rate}, not {SAMPLE_RATE} Hz.")
    library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))
    pieces: list[NDArray[np.int16]] = []

    def keep(samples, count: int, _events) -> int:
        if samples and count:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    callback = _SynthCallback(keep)  # must outlive the synthesis
    library.espeak_SetSynthCallback(callback)
    sounds = []
    for saying in sayings:
        pieces.clear()
        if library.espeak_SetVoiceByName(saying.voice.encode()) != 0:
            raise VoiceError(f"espeak-ng has no voice {saying.voice!r}.")
        library.espeak_SetParameter(_RATE, saying.words_per_minute, 0)
        library.espeak_SetParameter(_PITCH, saying.pitch, 0)
        text = saying.text.encode()
        failed = library.espeak_Synth(text, len(text) + 1, 0, 0, 0, _CHARS_UTF8, None, None)
        library.espeak_Synchronize()
        if failed or not pieces:
            raise VoiceError(f"espeak-ng could not speak {saying.text!r} as {saying.voice}.")
        sounds.append(np.concatenate(pieces).astype(np.float32) / 32768)
    return sounds
