"""Decodes chunks of pictures side by side and makes of each picture what frames are chosen by."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from aela.capture.packets import Chunk, least_spacing_s
from aela.capture.settings import CaptureSettings
from aela.capture.source import end_of, shown_size

STAMP_SLACK_S = 1e-3  # containers round time stamps, often to milliseconds
VIEW_SIDE = 96  # shorter side of the small pictures that everything but the kept frame is made of
SENSOR_NOISE = 1.0  # grey levels squared; keeps the noise of an empty picture from looking sharp


def sharpness(grey: np.ndarray) -> float:
    """Share of fine detail in all detail of a grey picture, uint8 [h, w]; 0 to about 3.

    Energy of second differences over energy of first differences, in the direction where it is
    less: a pan leaves the edges along its way sharp. Hardly depends on how much there is to see.
    In the spirit of Crete et al. 2007, "The blur effect" (section 2), which compares a picture's
    differences with those of its blurred self, each direction for itself.
    """
    plane = grey.astype(np.float32)
    ratios = []
    for axis in (0, 1):
        first = np.diff(plane, axis=axis)
        second = np.diff(first, axis=axis)
        detail = float(np.square(first).mean())
        ratios.append(float(np.square(second).mean()) / (detail + SENSOR_NOISE))
    return min(ratios)


@dataclass
class View:
    """A picture that was looked at, scaled down."""

    stamp_s: float | None
    """As the picture is stamped in its stream, if it is."""
    picture: VideoFrame
    """yuv420p, square pixels, not yet turned upright."""
    rotation: int
    """It is shown turned counterclockwise by so many degrees."""
    sharpness: float
    frame: VideoFrame | None = None
    """The same in the size of a kept frame, if it is the sharpest of its interval and chunk."""
    time_s: float = 0.0
    """Seconds from the start of the video, told by who takes the view."""


def interval_at(time_s: float, interval_s: float) -> int:
    """The number of the interval in which a time lies."""
    return int((time_s + STAMP_SLACK_S) / interval_s)


class Lane:
    """A decoder with a thread of its own, for one chunk after the other."""

    def __init__(
        self, stream: VideoStream, decoder: VideoCodecContext, settings: CaptureSettings
    ) -> None:
        self.stream, self.decoder = stream, decoder
        # Lanes run side by side, and the passing over of pictures keeps other threads idle.
        self.decoder.thread_count = 1
        self.decoder.options = {"max_pixels": str(settings.max_pixels)}
        self.pixel_aspect = stream.sample_aspect_ratio
        self.shorter_side = settings.shorter_side
        self.interval_s = 1 / settings.frames_per_second
        self.spacing_s = least_spacing_s(settings)
        # One per use: each keeps the tables for its sizes.
        self.view_scaler, self.frame_scaler = VideoReformatter(), VideoReformatter()
        self.thread = ThreadPoolExecutor(1, "lane")
        self.key_stamp: int | None = None  # of the group
        self.last_s = -math.inf  # in the group, of the pictures looked at

    def submit(self, chunk: Chunk, origin_s: float) -> "Future[list[View | None]]":
        """Views of a chunk, None for damaged pictures; intervals begin at the stamp origin_s."""
        return self.thread.submit(self._look, chunk, origin_s)

    def _look(self, chunk: Chunk, origin_s: float) -> list[View | None]:
        views: list[View | None] = []
        best: tuple[View, VideoFrame] | None = None
        best_interval: int | None = None
        for picture in self._decoded(chunk):
            if picture is None or picture.is_corrupt:
                views.append(None)
                continue
            interval = None
            if picture.time is not None:
                if 0 <= picture.time - self.last_s < self.spacing_s - STAMP_SLACK_S:
                    continue
                self.last_s = picture.time
                interval = interval_at(picture.time - origin_s, self.interval_s)
            small = self._scaled(self.view_scaler, picture, VIEW_SIDE)
            grey = np.asarray(small.planes[0]).reshape(small.height, -1)[:, : small.width]
            view = View(picture.time, small, picture.rotation, sharpness(grey))
            views.append(view)
            if best and (interval is None or interval != best_interval):
                self._enlarge(*best)
                best = None
            if best is None or view.sharpness > best[0].sharpness:
                best, best_interval = (view, picture), interval
        if best:
            self._enlarge(*best)
        return views

    def _decoded(self, chunk: Chunk) -> Iterator[VideoFrame | None]:
        self.decoder.skip_frame = "NONREF" if chunk.plenty else "DEFAULT"
        if chunk.packets and chunk.packets[0].is_keyframe:
            self.key_stamp = chunk.packets[0].pts
        for packet in chunk.packets:
            yield from self._decoded_packet(packet)
        if chunk.last:
            yield from self._decoded_packet(end_of(self.stream))
            self.decoder.flush_buffers()
            # What is looked at must not depend on the number of lanes.
            self.key_stamp, self.last_s = None, -math.inf

    def _decoded_packet(self, packet: Packet) -> Iterator[VideoFrame | None]:
        try:
            pictures = self.decoder.decode(packet)
        except FFmpegError:
            yield None
            return
        for picture in pictures:
            # Some groups begin with pictures that are shown before the key picture and are built
            # on the group before, too, which this decoder may not know.
            first, stamp = self.key_stamp, picture.pts
            if first is None or stamp is None or first <= stamp:
                yield picture

    def _scaled(
        self, scaler: VideoReformatter, picture: VideoFrame, shorter_side: int
    ) -> VideoFrame:
        """Square pixels, at most this shorter side, yuv420p, not yet turned upright."""
        width, height = shown_size(picture.width, picture.height, self.pixel_aspect, 0)
        scale = min(1.0, shorter_side / min(width, height))
        return scaler.reformat(
            picture,
            width=max(1, round(width * scale)),
            height=max(1, round(height * scale)),
            format="yuv420p",
            interpolation="AREA",
        )

    def _enlarge(self, view: View, picture: VideoFrame) -> None:
        view.frame = self._scaled(self.frame_scaler, picture, self.shorter_side)


class Lanes:
    """Shares chunks out among lanes, group by group, and gives their views back in order."""

    def __init__(
        self,
        stream: VideoStream,
        decoders: Sequence[VideoCodecContext],
        settings: CaptureSettings,
    ) -> None:
        """One lane for each decoder of the stream."""
        self.lanes = deque(Lane(stream, decoder, settings) for decoder in decoders)
        self.waiting: deque[Future[list[View | None]]] = deque()

    def submit(self, chunk: Chunk, origin_s: float) -> None:
        """Takes the next chunk; intervals begin at the time stamp origin_s."""
        self.waiting.append(self.lanes[0].submit(chunk, origin_s))
        if chunk.last:
            self.lanes.rotate(-1)

    def views(self, most_waiting: int = 0) -> Iterator[View | None]:
        """What is ready, waiting until no more than so many chunks are left; None: damaged."""
        while self.waiting and (len(self.waiting) > most_waiting or self.waiting[0].done()):
            yield from self.waiting.popleft().result()

    def close(self) -> None:
        """Ends the threads; afterwards the streams may be closed."""
        for lane in self.lanes:
            lane.thread.shutdown(cancel_futures=True)
