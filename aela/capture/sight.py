"""Chooses the sharpest frame of each interval of a stream of pictures."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image

from aela.capture.looking import View, interval_at
from aela.capture.records import Frame, Rejection
from aela.capture.settings import CaptureSettings

NEIGHBOUR_S = 0.3  # wanted distance of the neighbours ...
NEIGHBOUR_MOST_S = 0.6  # ... beyond which the frame itself stands in
USUAL_PAST_S, USUAL_AHEAD_S = 8.0, 3.0  # usual sharpness: median from before to after a frame
# Pictures this sharp are never blurry, and below this always, whatever is usual. Sharp
# recordings measure 0.7 to 2.3, pictures smeared by a pan 0.2 to 0.5.
SURELY_SHARP, SURELY_BLURRY = 0.75, 0.3


def blurry(sharpness: float, usual: float, settings: CaptureSettings) -> bool:
    """Whether a picture is far less sharp than is usual around it."""
    least = settings.least_sharpness * usual
    return sharpness < min(max(least, SURELY_BLURRY), SURELY_SHARP)


@dataclass
class Choice:
    """The sharpest picture of an interval, not yet decided on."""

    start_s: float
    view: View
    jpeg: bytes
    width: int
    height: int


class FrameChooser:
    """Takes views in time order and yields frames and rejections.

    Holds one frame for each second, and a few seconds of views.
    """

    def __init__(self, settings: CaptureSettings) -> None:
        self.settings = settings
        self.interval_s = 1 / settings.frames_per_second
        self.view_painter, self.frame_painter = VideoReformatter(), VideoReformatter()
        self.interval = -1
        self.best: View | None = None  # of the interval
        self.choices: deque[Choice] = deque()
        self.views: deque[View] = deque()

    def push(self, view: View, time_s: float) -> Iterator[Frame | Rejection]:
        """Takes the next view and the seconds from the start of the video to it."""
        view.time_s = time_s
        self.views.append(view)
        interval = interval_at(time_s, self.interval_s)
        if interval != self.interval:
            self._close_interval()
            self.interval = interval
        if view.frame and (self.best is None or view.sharpness > self.best.sharpness):
            self.best = view
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

    def _close_interval(self) -> None:
        """Turns the best picture of the interval into an upright JPEG."""
        view, self.best = self.best, None
        if view is None or view.frame is None:
            return
        upright = _upright(self.frame_painter, view.frame, view.rotation)
        jpeg = BytesIO()
        Image.fromarray(upright).save(jpeg, "JPEG", quality=self.settings.jpeg_quality)
        height, width = upright.shape[:2]
        start_s = self.interval * self.interval_s
        self.choices.append(Choice(start_s, view, jpeg.getvalue(), width, height))
        view.frame = None

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
            if blurry(choice.view.sharpness, float(usual), self.settings):
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
