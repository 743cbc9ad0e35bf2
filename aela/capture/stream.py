"""One decoding pass over a video: pictures to the frame chooser, sound to the word finder."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from aela.capture.hearing import WordFinder
from aela.capture.looking import Lanes, View
from aela.capture.packets import PacketChooser
from aela.capture.records import SAMPLE_RATE_HZ, Clip, Frame, Rejection, UnreadableVideo
from aela.capture.settings import CaptureSettings
from aela.capture.sight import FrameChooser
from aela.capture.source import (
    another_decoder,
    audible,
    end_of,
    opened,
    picture_stream,
    sound_stream,
)

ASSUMED_FPS = 25.0  # where a stream neither declares its rate nor stamps its pictures
SOUND_GAP_S = 0.1  # a longer jump of the sound's time stamps is a gap, heard as silence ...
MOST_FILLED_S = 10.0  # ... up to this; after a longer one, or a jump back, listening starts afresh
MISSING_END_S = 1.0  # a longer missing end is reported
MOST_LANES = 4
MOST_WAITING = 12  # chunks of a second for each lane: long groups need them to go side by side

Piece = View | AudioFrame


class Sense(ABC):
    """Decodes one stream and follows its time."""

    name: Literal["frame", "clip"]

    def __init__(
        self, stream: VideoStream | AudioStream, settings: CaptureSettings, origin_s: float
    ) -> None:
        self.stream = stream
        self.settings = settings
        self.origin_s = origin_s  # time stamp of the start of the video
        self.end_s = 0.0  # of what was decoded
        self.decoded = False
        self.damaged = False  # since end_s
        self.over = False  # at the most seconds to look at

    def take(self, packet: Packet) -> Iterator[Frame | Clip | Rejection]:
        """Takes the next packet of the stream; an empty one ends it."""
        for piece in self.decode(packet):
            yield from self._take_piece(piece)

    @abstractmethod
    def decode(self, packet: Packet) -> Iterator[Piece | None]:
        """Takes the next packet and yields what is decoded by now; None for what is damaged.

        An empty packet ends the stream and brings all that is left.
        """

    def _take_piece(self, piece: Piece | None) -> Iterator[Frame | Clip | Rejection]:
        if self.over:
            return
        if piece is None:
            self.damaged = True
            return
        stamp_s = piece.stamp_s if isinstance(piece, View) else piece.time
        time_s = self.end_s if stamp_s is None else max(0.0, stamp_s - self.origin_s)
        if time_s >= self.settings.max_seconds:
            self.over = True
            yield from self.flush()
            limit_s = self.settings.max_seconds
            yield Rejection(
                self.name, limit_s, max(limit_s, self._declared_s()), "too long", limit_s
            )
            return
        if self.damaged:
            yield self._gap(time_s)
        self.decoded = True
        yield from self.perceive(piece, time_s)

    def finish(self, end_s: float) -> Iterator[Frame | Clip | Rejection]:
        """Yields what is left; the stream should have lasted until end_s at least."""
        if self.over:
            return
        yield from self.flush()
        end_s = max(end_s, self._declared_s())
        if self.decoded and (self.damaged or end_s - self.end_s > MISSING_END_S):
            yield self._gap(end_s)

    def _declared_s(self) -> float:
        """Where the stream ends by its own account; 0 when it does not say."""
        stream = self.stream
        if stream.duration is None or stream.time_base is None:
            return 0.0
        return (
            float(((stream.start_time or 0) + stream.duration) * stream.time_base) - self.origin_s
        )

    def _gap(self, end_s: float) -> Rejection:
        self.damaged = False
        end_s = max(end_s, self.end_s)
        return Rejection(self.name, self.end_s, end_s, "damaged", end_s - self.end_s)

    @property
    @abstractmethod
    def settled_s(self) -> float:
        """Nothing that starts before this time will be yielded any more."""

    @abstractmethod
    def perceive(self, piece: Piece, time_s: float) -> Iterator[Frame | Clip | Rejection]:
        """Takes a decoded piece that starts at time_s, and moves end_s."""

    @abstractmethod
    def flush(self) -> Iterator[Frame | Clip | Rejection]:
        """Yields what is left of what was perceived."""

    @abstractmethod
    def close(self) -> None:
        """Ends what works on the stream beside this thread; afterwards it may be closed."""


class Sight(Sense):
    """The pictures of a video.

    With more decoders than the stream's own, groups of pictures are decoded side by side.
    """

    name = "frame"

    def __init__(
        self,
        stream: VideoStream,
        settings: CaptureSettings,
        origin_s: float,
        others: Sequence[VideoCodecContext] = (),
    ) -> None:
        super().__init__(stream, settings, origin_s)
        self.step_s = 1 / float(stream.average_rate or ASSUMED_FPS)
        self.chooser = FrameChooser(settings)
        self.packets = PacketChooser(stream, settings, self.step_s)
        self.lanes = Lanes(stream, [stream.codec_context, *others], settings)
        self.most_waiting = MOST_WAITING * (1 + len(others))

    def decode(self, packet: Packet) -> Iterator[View | None]:
        for chunk in self.packets.push(packet):
            self.lanes.submit(chunk, self.origin_s)
        yield from self.lanes.views(self.most_waiting if packet.size else 0)

    @property
    def settled_s(self) -> float:
        return self.chooser.settled_s

    def perceive(self, piece: Piece, time_s: float) -> Iterator[Frame | Rejection]:
        assert isinstance(piece, View)
        self.end_s = max(self.end_s, time_s + self.step_s)
        yield from self.chooser.push(piece, time_s)

    def flush(self) -> Iterator[Frame | Rejection]:
        yield from self.chooser.flush()

    def close(self) -> None:
        self.lanes.close()


class Hearing(Sense):
    """The sound of a video, resampled to mono at 44,100 Hz."""

    name = "clip"

    def __init__(self, stream: AudioStream, settings: CaptureSettings, origin_s: float) -> None:
        super().__init__(stream, settings, origin_s)
        self.form: tuple[str, str, int] | None = None
        self.resampler = self._new_resampler()
        self.finder = WordFinder(settings, 0.0)

    @property
    def settled_s(self) -> float:
        return self.finder.settled_s

    def decode(self, packet: Packet) -> Iterator[AudioFrame | None]:
        try:
            for sound in packet.decode():
                assert isinstance(sound, AudioFrame)
                yield None if sound.is_corrupt or not audible(sound) else sound
        except FFmpegError:
            yield None

    def perceive(self, piece: Piece, time_s: float) -> Iterator[Clip | Rejection]:
        assert isinstance(piece, AudioFrame)
        form = (piece.format.name, piece.layout.name, piece.sample_rate)
        gap_s = time_s - self.end_s
        if form == self.form and SOUND_GAP_S < gap_s <= MOST_FILLED_S:
            yield from self.finder.push(np.zeros(round(gap_s * SAMPLE_RATE_HZ), np.float32))
            self.end_s = time_s
        elif form != self.form or abs(gap_s) > SOUND_GAP_S:
            yield from self.flush()
            self.form = form
            self.resampler = self._new_resampler()
            self.finder = WordFinder(self.settings, time_s)
            self.end_s = time_s
        self.end_s += piece.samples / piece.sample_rate
        yield from self._hear(piece)

    def flush(self) -> Iterator[Clip | Rejection]:
        if self.form is not None:
            yield from self._hear(None)
        yield from self.finder.flush()
        self.form = None  # what comes next begins afresh

    def close(self) -> None:
        pass

    def _hear(self, sound: AudioFrame | None) -> Iterator[Clip | Rejection]:
        try:
            pieces = self.resampler.resample(sound)
        except FFmpegError:  # channels that cannot be mixed
            self.damaged = True
            return
        for piece in pieces:
            yield from self.finder.push(piece.to_ndarray()[0])

    @staticmethod
    def _new_resampler() -> AudioResampler:
        return AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)


def capture(
    path: str | os.PathLike[str], settings: CaptureSettings | None = None
) -> Iterator[Frame | Clip | Rejection]:
    """Frames, clips and rejections of a video, each as soon as it is decided, in one pass.

    Frames come in time order, clips come in time order, and the two are interleaved: a frame is
    decided about 5 s after its time, a clip about 6 s. Memory does not grow with the length of
    the video. Rejections with the reason "damaged" stand for what could not be decoded.

    Raises UnreadableVideo at the first step when the file cannot be opened, and at the end when
    nothing in it could be decoded.
    """
    settings = settings or CaptureSettings()
    lanes = min(MOST_LANES, os.cpu_count() or 1)
    others = [another_decoder(path, settings) for _ in range(1, lanes)]
    with ExitStack() as stack:
        container = stack.enter_context(opened(path, settings))
        origin_s = (container.start_time or 0) / av.time_base
        senses: dict[int, Sense] = {}
        if (picture := picture_stream(container)) is not None:
            decoders = [other for other in others if other]
            senses[picture.index] = Sight(picture, settings, origin_s, decoders)
        if (sound := sound_stream(container)) is not None:
            senses[sound.index] = Hearing(sound, settings, origin_s)
        for sense in senses.values():
            stack.callback(sense.close)
        for packet in _packets(container, senses):
            yield from senses[packet.stream.index].take(packet)
        if not any(sense.decoded for sense in senses.values()):
            raise UnreadableVideo(
                f"Nothing in {os.fspath(path)} could be decoded (damaged or cut short); "
                "copy or record the video again."
            )
        # A container without lengths per stream says only how long the longest one is.
        end_s = (container.duration or 0) / av.time_base
        short = max(sense.end_s for sense in senses.values()) < end_s - MISSING_END_S
        for sense in senses.values():
            yield from sense.finish(end_s if short else 0.0)


def _packets(container: InputContainer, senses: dict[int, Sense]) -> Iterator[Packet]:
    """The packets of the streams, up to the end of the file or to where it is cut off."""
    streams = [sense.stream for sense in senses.values()]
    packets = container.demux(streams)
    while not all(sense.over for sense in senses.values()):
        try:
            packet = next(packets)
        except StopIteration:
            return
        except IndexError:
            # A damaged transport stream announced one more stream, which PyAV does not know:
            # its packet is passed over.
            packets = container.demux(streams)
            continue
        except FFmpegError:
            for stream in streams:
                yield end_of(stream)
            for sense in senses.values():
                sense.damaged = True
            return
        yield packet
