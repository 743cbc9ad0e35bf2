"""Decodes what a live source of the server gives as it comes, for who looks and listens at once.

Frames and clips are chosen seconds later, by `aela.capture`, from the same packets.
"""

import io
import threading
import time
from collections import deque
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image

from aela.capture.source import shown_size

EVERY_S = 0.1  # pictures are shown at most so often
SHORTER_SIDE = 360
QUALITY = 80
RATE_HZ = 16_000  # enough to measure levels
MOST_WAITING = 250  # packets; of more, those up to the newest key picture are passed over


class Eyes:
    """A thread that decodes packets: pictures as JPEGs, sound as float32 mono [n] with its rate.

    `take` may be called from several threads and never waits.
    """

    def __init__(
        self, sees: Callable[[bytes], None], hears: Callable[[np.ndarray, int], None]
    ) -> None:
        self.sees, self.hears = sees, hears
        self.waiting: deque[tuple[VideoCodecContext | AudioCodecContext, Packet]] = deque()
        self.decoders: dict[object, VideoCodecContext | AudioCodecContext] = {}  # by stream
        self.pixel_aspect: Fraction | None = None
        self.shown_s = 0.0
        self.painter, self.resampler = VideoReformatter(), _resampler()
        self.changed = threading.Condition()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, name="eyes", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        with self.changed:
            self.stopping = True
            self.changed.notify()
        self.thread.join()

    def take(self, packet: Packet) -> None:
        """Take a packet that has just come."""
        decoder = self._decoder(packet)
        with self.changed:
            self.waiting.append((decoder, packet))
            if len(self.waiting) > MOST_WAITING:
                self._pass_over()
            self.changed.notify()

    def _pass_over(self) -> None:
        keys = [n for n, (_, packet) in enumerate(self.waiting) if packet.is_keyframe]
        pictures = [n for n in keys if isinstance(self.waiting[n][0], VideoCodecContext)]
        for _ in range(pictures[-1] if pictures else len(self.waiting)):
            self.waiting.popleft()

    def _decoder(self, packet: Packet) -> VideoCodecContext | AudioCodecContext:
        """A decoder of our own for the stream of a packet."""
        stream = packet.stream
        with self.changed:
            if stream not in self.decoders:
                if len(self.decoders) > 1:  # The source was connected to anew.
                    self.decoders.clear()
                given = stream.codec_context
                decoder = av.CodecContext.create(given.codec.name, "r")
                if given.extradata:
                    decoder.extradata = given.extradata
                if isinstance(given, VideoCodecContext):
                    assert isinstance(decoder, VideoCodecContext)
                    decoder.width, decoder.height = given.width, given.height
                    decoder.pix_fmt = given.pix_fmt
                    self.pixel_aspect = stream.sample_aspect_ratio
                else:
                    assert isinstance(decoder, AudioCodecContext)
                    decoder.sample_rate, decoder.layout = given.sample_rate, given.layout
                self.decoders[stream] = decoder
            return self.decoders[stream]

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self.waiting and not self.stopping:
                    self.changed.wait()
                if self.stopping:
                    return
                decoder, packet = self.waiting.popleft()
            try:
                for piece in decoder.decode(packet):
                    if isinstance(piece, VideoFrame):
                        self._see(piece)
                    else:
                        self._hear(piece)
            except FFmpegError:  # damaged, or not the beginning
                continue

    def _see(self, picture: VideoFrame) -> None:
        now_s = time.monotonic()
        if now_s - self.shown_s < EVERY_S:
            return
        self.shown_s = now_s
        width, height = shown_size(picture.width, picture.height, self.pixel_aspect, 0)
        scale = min(1.0, SHORTER_SIDE / min(width, height))
        small = self.painter.reformat(
            picture,
            width=max(1, round(width * scale)),
            height=max(1, round(height * scale)),
            format="rgb24",
        )
        file = io.BytesIO()
        upright = np.rot90(small.to_ndarray(), round(picture.rotation / 90))
        Image.fromarray(np.ascontiguousarray(upright)).save(file, "JPEG", quality=QUALITY)
        self.sees(file.getvalue())

    def _hear(self, sound: AudioFrame) -> None:
        try:
            pieces = self.resampler.resample(sound)
        except (FFmpegError, ValueError):  # It changed its form.
            self.resampler = _resampler()
            return
        for piece in pieces:
            self.hears(piece.to_ndarray()[0], RATE_HZ)


def _resampler() -> AudioResampler:
    return AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
