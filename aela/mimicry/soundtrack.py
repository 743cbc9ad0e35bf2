"""The sound of a spoken video: what was recorded, and the voice over it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from aela.capture import SAMPLE_RATE_HZ
from aela.capture.source import opened, picture_stream, sound_stream
from aela.mimicry.damaged import ANY_SIZE, decoded, packets
from aela.mimicry.sayings import Saying

OUT_OF_STEP_S = 0.02  # by which the sound may be beside its time stamps, before it is put right


def mix(
    source: Path, voice: list[Saying], original_volume: float, track: Path
) -> tuple[float, bool]:
    """Write the recorded sound with the voice over it to `track`, in step with the pictures.

    Returns:
        The length of picture or sound, whichever is longer, in seconds; whether there is any sound.
    """
    picture_end_s = 0.0
    with (
        opened(source, ANY_SIZE) as container,
        soundfile.SoundFile(track, "w", SAMPLE_RATE_HZ, 2, "PCM_16") as file,
    ):
        mixer = _Mixer(file, voice)
        origin_s = (container.start_time or 0) / av.time_base
        picture, sound = picture_stream(container), sound_stream(container)
        resampler = _Resampler()
        for packet in packets(container, [s for s in (picture, sound) if s is not None]):
            if packet.stream is picture:
                if packet.pts is not None and packet.time_base is not None:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    picture_end_s = max(picture_end_s, end - origin_s)
                continue
            for piece in decoded(packet):
                assert isinstance(piece, AudioFrame)
                if piece.time is not None:
                    mixer.step_to(piece.time - origin_s)
                for samples in resampler.stereo(piece):
                    mixer.add(original_volume * samples)
        if picture is not None and picture_end_s == 0:  # no time stamps: a bare stream
            picture_end_s = (container.duration or 0) / av.time_base
        duration_s = max(picture_end_s, mixer.end_s)
        audible = sound is not None or bool(voice)
        mixer.fill_to(duration_s)
    return duration_s, audible


class _Resampler:
    """Makes stereo of sound that may change its form on the way, as that of television does."""

    def __init__(self) -> None:
        self.form: tuple[str, str, int] | None = None

    def stereo(self, piece: AudioFrame) -> Iterator[np.ndarray]:
        """float32 [n, 2] at 44.1 kHz of the next piece; nothing of channels that cannot be mixed.

        A mono recording goes to both sides as it is; FFmpeg would make it 3 dB quieter.
        """
        form = (piece.format.name, piece.layout.name, piece.sample_rate)
        if form != self.form:
            self.form, self.channels = form, 1 if piece.layout.nb_channels == 1 else 2
            layout = "mono" if self.channels == 1 else "stereo"
            self.resampler = AudioResampler("flt", layout, SAMPLE_RATE_HZ)
        with contextlib.suppress(FFmpegError):
            for part in self.resampler.resample(piece):
                samples = part.to_ndarray().reshape(-1, self.channels)
                yield np.repeat(samples, 2 // self.channels, axis=1)


class _Mixer:
    """Writes stereo sound block by block, and the voice over it."""

    def __init__(self, file: soundfile.SoundFile, voice: list[Saying]) -> None:
        self.file = file
        self.voice = [(round(v.start_s * SAMPLE_RATE_HZ), v.samples) for v in voice]
        self.position = 0
        self.left_out = 0  # samples of the recording that overlap with what was written

    @property
    def end_s(self) -> float:
        return self.position / SAMPLE_RATE_HZ

    def step_to(self, time_s: float) -> None:
        """Make the next samples those of a time: after silence, or without those that overlap."""
        early = time_s - self.end_s
        if early > OUT_OF_STEP_S:
            self.fill_to(time_s)
        elif early < -OUT_OF_STEP_S:
            self.left_out = self.position - round(time_s * SAMPLE_RATE_HZ)

    def fill_to(self, time_s: float) -> None:
        """Silence up to a time."""
        while (missing := round(time_s * SAMPLE_RATE_HZ) - self.position) > 0:
            self.add(np.zeros((min(missing, 10 * SAMPLE_RATE_HZ), 2), np.float32))

    def add(self, block: np.ndarray) -> None:
        """The next samples [n, 2] of the recording."""
        skipped = min(self.left_out, len(block))
        self.left_out -= skipped
        block = block[skipped:]
        end = self.position + len(block)
        while self.voice and self.voice[0][0] < end:
            start, samples = self.voice.pop(0)
            offset = max(0, start - self.position)
            part = samples[: len(block) - offset]
            block[offset : offset + len(part)] += part[:, None]
            if len(part) < len(samples):
                self.voice.insert(0, (end, samples[len(part) :]))
                break
        self.file.write(block.clip(-1, 1))
        self.position = end
