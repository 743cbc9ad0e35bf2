"""Remembered JPEGs as tensors, and what of them is looked at."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from aela.storage import sha256
from aela.vision import gaze
from aela.vision.settings import ImageEncoderSettings

VIEWS = ("jpeg", "before", "after")  # of one moment, the first being the frame itself
MARGIN = 1.6  # side of the square cut out around the thing, relative to the thing
ROOM_TO_MOVE = 1.5  # squares are kept at this multiple of the network's input


def decode(jpeg: bytes) -> torch.Tensor:
    """uint8 RGB [3, height, width]."""
    picture = np.array(Image.open(io.BytesIO(jpeg)).convert("RGB"))
    return torch.from_numpy(picture).permute(2, 0, 1)


def squeezed(picture: torch.Tensor, side_px: int) -> torch.Tensor:
    """uint8 [3, height, width] as float [3, side_px, side_px] in [0, 1], aspect not kept."""
    return torch.nn.functional.interpolate(
        picture[None].float() / 255, (side_px, side_px), mode="bilinear", antialias=True
    )[0]


def kept_px(settings: ImageEncoderSettings) -> int:
    """Side of the squares that are kept of what is looked at."""
    return round(ROOM_TO_MOVE * settings.input_px)


def looked_at(frames: pa.Table, settings: ImageEncoderSettings) -> torch.Tensor:
    """What is looked at in each frame, with the probability that a pixel belongs to the thing.

    Args:
        frames: with the columns `jpeg`, `before` and `after` of remembered frames.

    Returns:
        uint8 [n, 4, s, s] with s = `kept_px`: red, green, blue, figure. Each row is the same
        whatever other frames there are.
    """
    side_px = kept_px(settings)
    if settings.look == "whole":
        colours = torch.stack([squeezed(picture, side_px) for picture in _decoded(frames, "jpeg")])
        return _bytes(torch.cat([colours, torch.ones_like(colours[:, :1])], dim=1))
    moments = [_decoded(frames, name) for name in VIEWS]
    return _cut_out(moments, *_found(moments), side_px)


def ground_of(frames: pa.Table, settings: ImageEncoderSettings) -> torch.Tensor:
    """What would be looked at if the thing were not there, in the largest part of each frame beside
    it: the room, a hand, what lies about.

    Returns:
        uint8 [m, 4, s, s] as of `looked_at`, m at most n: some frames leave nothing beside the
        thing, and none does when frames are looked at as a whole.
    """
    side_px = kept_px(settings)
    nothing = torch.zeros((0, 4, side_px, side_px), dtype=torch.uint8)
    if settings.look == "whole":
        return nothing
    moments = [_decoded(frames, name) for name in VIEWS]
    parts = map(gaze.beside, _found(moments)[1].tolist())
    kept = [(row, part) for row, part in enumerate(parts) if part]
    if not kept:
        return nothing
    moments = [[_cropped(views[row], part) for row, part in kept] for views in moments]
    return _cut_out(moments, *_found(moments), side_px)


def _decoded(frames: pa.Table, column: str) -> list[torch.Tensor]:
    return [decode(jpeg) for jpeg in frames[column].to_pylist()]


def _cropped(picture: torch.Tensor, box: tuple[float, float, float, float]) -> torch.Tensor:
    height, width = picture.shape[1:]
    left, top, right, bottom = box
    return picture[
        :,
        int(top * height) : math.ceil(bottom * height),
        int(left * width) : math.ceil(right * width),
    ]


def _found(moments: list[list[torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Figures [n, SIDE, SIDE] and their boxes [n, 4] in pictures of VIEWS."""
    now, before, after = (
        torch.stack([squeezed(picture, gaze.SIDE) for picture in views]) for views in moments
    )
    # Both at once: never one alone, for which linear algebra rounds otherwise than for many.
    motions = gaze.residual_motion(torch.cat([before, after]), torch.cat([now, now]))
    figures = gaze.figure(now, motions.view(2, *before[:, 0].shape).mean(dim=0))
    return figures, gaze.boxes(figures)


def _cut_out(
    moments: list[list[torch.Tensor]], figures: torch.Tensor, boxes: torch.Tensor, side_px: int
) -> torch.Tensor:
    return torch.stack(
        [
            _bytes(gaze.cut_out(picture.float() / 255, figure, box, MARGIN, side_px))
            for picture, figure, box in zip(moments[0], figures, boxes, strict=True)
        ]
    )


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return (values * 255).round().clamp(0, 255).to(torch.uint8)


def made_of(settings: ImageEncoderSettings) -> dict[str, Any]:
    """All that decides what `looked_at` makes of a frame, the code included: a cache's name."""
    return {
        "look": settings.look,
        "kept_px": kept_px(settings),
        "code": [sha256(Path(file).read_bytes()) for file in (__file__, gaze.__file__)],
        "libraries": [torch.__version__, Image.__version__],
    }
