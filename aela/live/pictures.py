"""Live pictures as the system looks at them: small, and sharp or not."""

import io
from collections import deque
from dataclasses import dataclass

import numpy as np
from PIL import Image

from aela.capture import CaptureSettings
from aela.capture.looking import VIEW_SIDE, sharpness
from aela.capture.sight import NEIGHBOUR_MOST_S, NEIGHBOUR_S, USUAL_PAST_S, blurry
from aela.memory.store import NEIGHBOUR_JPEG_QUALITY


@dataclass(frozen=True)
class Look:
    """A picture as it is looked at; `before` and `after` are small views near to it in time.

    What comes after is not known yet: `after` is an earlier view, too, or the picture itself.
    """

    stamp_s: float
    jpeg: bytes
    before: bytes
    after: bytes
    sharpness: float
    sharp: bool


@dataclass(frozen=True)
class _View:
    stamp_s: float
    small: bytes
    sharpness: float


class Looker:
    """Takes pictures in the order of time and makes looks of them, as capture makes frames."""

    def __init__(self, settings: CaptureSettings) -> None:
        self.settings = settings
        self.views: deque[_View] = deque()

    def look(self, stamp_s: float, jpeg: bytes) -> Look | None:
        """The look at a JPEG; None if it cannot be decoded."""
        try:
            picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
        except (OSError, ValueError):
            return None
        small = _scaled(picture, VIEW_SIDE)
        view = _View(
            stamp_s, _jpeg(small, NEIGHBOUR_JPEG_QUALITY), sharpness(np.array(small.convert("L")))
        )
        while self.views and not 0 < stamp_s - self.views[0].stamp_s <= USUAL_PAST_S:
            self.views.popleft()
        usual = float(np.median([other.sharpness for other in (*self.views, view)]))
        before, after = (self._near(stamp_s - n * NEIGHBOUR_S, view) for n in (1, 2))
        self.views.append(view)
        frame = _jpeg(_scaled(picture, self.settings.shorter_side), self.settings.jpeg_quality)
        sharp = not blurry(view.sharpness, usual, self.settings)
        return Look(stamp_s, frame, before, after, view.sharpness, sharp)

    def _near(self, wanted_s: float, view: _View) -> bytes:
        """The earlier view nearest to a time; the view itself where there is none near enough."""
        near = [v for v in self.views if view.stamp_s - v.stamp_s <= 2 * NEIGHBOUR_MOST_S]
        return min(near, key=lambda v: abs(v.stamp_s - wanted_s), default=view).small


def _scaled(picture: Image.Image, shorter_side: int) -> Image.Image:
    scale = min(1.0, shorter_side / min(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BOX)


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def blank_jpeg() -> bytes:
    """A grey picture."""
    return _jpeg(Image.new("RGB", (VIEW_SIDE, VIEW_SIDE), "grey"), NEIGHBOUR_JPEG_QUALITY)
