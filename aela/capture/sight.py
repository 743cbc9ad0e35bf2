"""Chooses the sharpest frame of each interval of a stream of pictures."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image

from aela.capture.records import Frame, Rejection
from aela.capture.settings import CaptureSettings
from aela.capture.source import shown_size

MOST_CANDIDATES_PER_S = 12  # more pictures are not looked at, unless short intervals need them
CANDIDATES_PER_INTERVAL = 4
STAMP_SLACK_S = 1e-3  # containers round time stamps, often to milliseconds
VIEW_SIDE = 96  # shorter side of the small pictures that everything but the kept frame is made of
NEIGHBOUR_S = 0.3  # wanted distance of the neighbours ...
NEIGHBOUR_MOST_S = 0.6  # ... beyond which the frame itself stands in
USUAL_PAST_S, USUAL_AHEAD_S = 8.0, 3.0  # usual sharpness: median from before to after a frame
# Pictures this sharp are never blurry, and below this always, whatever is usual. Sharp
# recordings measure 0.7 to 2.3, pictures smeared by a pan 0.2 to 0.5.
SURELY_SHARP, SURELY_BLURRY = 0.75, 0.3
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

    time_s: float
    picture: VideoFrame  # yuv420p
    rotation: int
    sharpness: float


@dataclass
class Choice:
    """The sharpest picture of an interval, not yet decided on."""

    start_s: float
    view: View
    jpeg: bytes
    width: int
    height: int


class FrameChooser:
    """Takes decoded pictures in time order and yields frames and rejections.

    Holds one full-size picture and a few seconds of small ones.
    """

    def __init__(self, settings: CaptureSettings, pixel_aspect: Fraction | None) -> None:
        self.settings = settings
        self.pixel_aspect = pixel_aspect
        self.interval_s = 1 / settings.frames_per_second
        self.spacing_s = min(1 / MOST_CANDIDATES_PER_S, self.interval_s / CANDIDATES_PER_INTERVAL)
        # One per use: each keeps the tables for its sizes.
        self.view_scaler, self.view_painter = VideoReformatter(), VideoReformatter()
        self.frame_scaler, self.frame_painter = VideoReformatter(), VideoReformatter()
        self.interval = -1
        self.best: VideoFrame | None = None
        self.best_view: View | None = None
        self.choices: deque[Choice] = deque()
        self.views: deque[View] = deque()

    def push(self, picture: VideoFrame, time_s: float) -> Iterator[Frame | Rejection]:
        """Takes the next picture and the seconds from the start of the video to it."""
        if self.views and time_s < self.views[-1].time_s + self.spacing_s - STAMP_SLACK_S:
            return
        small = self._scaled(self.view_scaler, picture, VIEW_SIDE)
        grey = np.asarray(small.planes[0]).reshape(small.height, -1)[:, : small.width]
        view = View(time_s, small, picture.rotation, sharpness(grey))
        self.views.append(view)
        interval = int((time_s + STAMP_SLACK_S) / self.interval_s)
        if interval != self.interval:
            self._close_interval()
            self.interval = interval
        if self.best_view is None or view.sharpness > self.best_view.sharpness:
            self.best, self.best_view = picture, view
        yield from self._decide(time_s - USUAL_AHEAD_S)
        oldest_s = time_s - USUAL_AHEAD_S - USUAL_PAST_S - self.interval_s
        while self.views[0].time_s < oldest_s:
            self.views.popleft()

    def flush(self) -> Iterator[Frame | Rejection]:
        """Yields what is left at the end of the video."""
        self._close_interval()
        yield from self._decide(np.inf)

    @property
    def settled_s(self) -> float:
        """Nothing that starts before this time will be yielded any more."""
        return self.choices[0].start_s if self.choices else max(0, self.interval) * self.interval_s

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

    def _close_interval(self) -> None:
        """Turns the best picture of the interval into an upright JPEG."""
        if self.best is None or self.best_view is None:
            return
        scaled = self._scaled(self.frame_scaler, self.best, self.settings.shorter_side)
        upright = _upright(self.frame_painter, scaled, self.best.rotation)
        jpeg = BytesIO()
        Image.fromarray(upright).save(jpeg, "JPEG", quality=self.settings.jpeg_quality)
        height, width = upright.shape[:2]
        start_s = self.interval * self.interval_s
        self.choices.append(Choice(start_s, self.best_view, jpeg.getvalue(), width, height))
        self.best = self.best_view = None

    def _decide(self, until_s: float) -> Iterator[Frame | Rejection]:
        """Yields the choices up to a time, kept or rejected."""
        while self.choices and self.choices[0].view.time_s <= until_s:
            choice = self.choices.popleft()
            time_s = choice.view.time_s
            usual = np.median(
                [
                    view.sharpness
                    for view in self.views
                    if time_s - USUAL_PAST_S <= view.time_s <= time_s + USUAL_AHEAD_S
                ]
            )
            least = self.settings.least_sharpness * usual
            if choice.view.sharpness < min(max(least, SURELY_BLURRY), SURELY_SHARP):
                # Nothing but flat pictures around: it is as sharp as they are.
                share = choice.view.sharpness / float(usual) if usual else 1.0
                end_s = choice.start_s + self.interval_s
                yield Rejection("frame", choice.start_s, end_s, "blurry", share)
                continue
            yield Frame(
                time_s=time_s,
                jpeg=choice.jpeg,
                width=choice.width,
                height=choice.height,
                sharpness=choice.view.sharpness,
                neighbours=np.stack(
                    [self._neighbour(choice.view, side * NEIGHBOUR_S) for side in (-1, 1)]
                ),
            )

    def _neighbour(self, view: View, offset_s: float) -> np.ndarray:
        """The small picture nearest to an offset in time, uint8 RGB [h, w, 3]."""
        wanted_s = view.time_s + offset_s
        alike = (
            other
            for other in self.views
            if (other.time_s - view.time_s) * offset_s > 0
            and abs(other.time_s - view.time_s) <= NEIGHBOUR_MOST_S
            and (other.picture.width, other.picture.height, other.rotation)
            == (view.picture.width, view.picture.height, view.rotation)
        )
        nearest = min(alike, key=lambda other: abs(other.time_s - wanted_s), default=view)
        return _upright(self.view_painter, nearest.picture, nearest.rotation)


def _upright(painter: VideoReformatter, picture: VideoFrame, rotation: int) -> np.ndarray:
    """uint8 RGB [h, w, 3] of a picture that is shown turned counterclockwise, in degrees."""
    plane = painter.reformat(picture, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(plane, round(rotation / 90)))
