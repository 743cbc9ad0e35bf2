"""Remembered JPEGs as tensors, and what of them is looked at."""

import io

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from aela.vision import gaze
from aela.vision.settings import ImageEncoderSettings

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


def looked_at(frames: pa.Table, settings: ImageEncoderSettings) -> torch.Tensor:
    """What is looked at in each frame, with the probability that a pixel belongs to the thing.

    Args:
        frames: with the columns `jpeg`, `before` and `after` of remembered frames.

    Returns:
        uint8 [n, 4, s, s] with s = ROOM_TO_MOVE x `settings.input_px`: red, green, blue, figure.
    """
    side_px = round(ROOM_TO_MOVE * settings.input_px)
    pictures = [decode(jpeg) for jpeg in frames["jpeg"].to_pylist()]
    if settings.look == "whole":
        colours = torch.stack([squeezed(picture, side_px) for picture in pictures])
        return _bytes(torch.cat([colours, torch.ones_like(colours[:, :1])], dim=1))
    small = torch.stack([squeezed(picture, gaze.SIDE) for picture in pictures])
    motions = [
        gaze.residual_motion(
            torch.stack([squeezed(decode(jpeg), gaze.SIDE) for jpeg in frames[name].to_pylist()]),
            small,
        )
        for name in ("before", "after")
    ]
    figures = gaze.figure(small, torch.stack(motions).mean(dim=0))
    return torch.stack(
        [
            _bytes(gaze.cut_out(picture.float() / 255, figure, box, MARGIN, side_px))
            for picture, figure, box in zip(pictures, figures, gaze.boxes(figures), strict=True)
        ]
    )


def _bytes(values: torch.Tensor) -> torch.Tensor:
    return (values * 255).round().clamp(0, 255).to(torch.uint8)
