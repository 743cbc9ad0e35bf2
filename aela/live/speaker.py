"""Plays words on this machine's own loudspeaker, where no page does."""

import io
import os
import queue
import threading
import wave
from collections.abc import Callable

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.error import FFmpegError

from aela.capture.live_source import ALSA_CONFIGURATION
from aela.live.watcher import Word

DEVICE = "default"


class Speaker:
    """A thread that plays one word after the other; what comes while one is played is left out.

    Where there is no loudspeaker, that is told once, and pages alone speak.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self.words: queue.Queue[Word | None] = queue.Queue(1)
        self.thread = threading.Thread(target=self._run, name="speaker", daemon=True)
        self.mute = False

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End after the word that is being played."""
        self.words.put(None)
        self.thread.join()

    def say(self, word: Word) -> None:
        """Play a word soon; returns at once."""
        if not self.mute and not self.words.unfinished_tasks:
            self.words.put_nowait(word)

    def _run(self) -> None:
        while (word := self.words.get()) is not None:
            try:
                play(word.wav, DEVICE)
            except (FFmpegError, OSError, ValueError) as error:
                self.mute = True
                self.tell(
                    f"This machine has no loudspeaker that can be used ({error}); open the page to "
                    "hear what is said."
                )
            self.words.task_done()


def play(wav: bytes, device: str) -> None:
    """Play a mono WAV file of 16 bit and wait for its end.

    Raises:
        FFmpegError, OSError, ValueError: there is no such device, or no way to it from here.
    """
    with wave.open(io.BytesIO(wav)) as file:
        rate_hz, data = file.getframerate(), file.readframes(file.getnframes())
    os.environ.setdefault("ALSA_CONFIG_PATH", ALSA_CONFIGURATION)
    with av.open(device, "w", format="alsa") as container:
        stream = container.add_stream("pcm_s16le", rate=rate_hz, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = AudioFrame.from_ndarray(np.frombuffer(data, "<i2")[None], "s16", "mono")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
