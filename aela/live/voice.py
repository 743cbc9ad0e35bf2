"""The words of one generation as sounds, made ahead of time, so that saying one costs nothing."""

import io
import threading
import wave
from collections import Counter, OrderedDict
from collections.abc import Iterator

import numpy as np

from aela.capture import SAMPLE_RATE_HZ
from aela.mimicry.recall import Mimic

MOST_WORDS = 256  # held as sounds: about 25 MB
MOST_ASKED = 1024  # remembered frames, spread evenly, that tell which words are usual


def to_wav(samples: np.ndarray) -> bytes:
    """Mono samples in [-1, 1] at 44.1 kHz as a WAV file (16 bit)."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


class Voice:
    """Says remembered clips in the voice of the system itself."""

    def __init__(self, mimic: Mimic) -> None:
        self.mimic = mimic
        self.lock = threading.Lock()
        self.sounds: OrderedDict[int, bytes] = OrderedDict()

    def sound(self, clip: int) -> bytes:
        """The word of the remembered clip in that row, as a WAV file."""
        with self.lock:
            found = self.sounds.get(clip)
            if found is not None:
                self.sounds.move_to_end(clip)
                return found
        [samples] = self.mimic.speak(self.mimic.remembering.words[clip : clip + 1])
        with self.lock:
            self.sounds[clip] = to_wav(samples)
            if len(self.sounds) > MOST_WORDS:
                self.sounds.popitem(last=False)
            return self.sounds[clip]

    def prepare(self) -> Iterator[int]:
        """Makes the sounds of the words that remembered frames bring to mind, the usual ones first,
        one at each step; as many as there is room for. Others are made when they are first said.
        """
        for clip in self._usual()[:MOST_WORDS]:
            self.sound(clip)
            yield clip

    def _usual(self) -> list[int]:
        images = self.mimic.remembering.images
        asked = images[np.linspace(0, len(images) - 1, min(len(images), MOST_ASKED), dtype=int)]
        apart_s = np.arange(len(asked)) * 1e6  # each on its own
        counts = Counter(self.mimic.recall(asked, apart_s).clips.tolist())
        return [clip for clip, _ in counts.most_common()]
