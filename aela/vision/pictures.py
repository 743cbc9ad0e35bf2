"""Remembered JPEGs as arrays and tensors."""

import io

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

MIDDLE = 0.75  # share of the shorter side, around the middle of the picture


def decode(jpeg: bytes) -> np.ndarray:
    """uint8 RGB [height, width, 3]."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def middle_square(picture: np.ndarray, share: float, side_px: int) -> np.ndarray:
    """The square around the middle with `share` of the shorter side, scaled to `side_px`.

    uint8 [height, width, 3] to uint8 [side_px, side_px, 3].
    """
    height, width = picture.shape[:2]
    half = share * min(height, width) / 2
    box = (width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
    scaled = Image.fromarray(picture).resize(
        (side_px, side_px), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0
    )
    return np.asarray(scaled)


def squeezed(picture: np.ndarray, side_px: int) -> np.ndarray:
    """The whole picture squeezed into a square: uint8 [side_px, side_px, 3]."""
    scaled = Image.fromarray(picture).resize((side_px, side_px), Image.Resampling.BOX)
    return np.asarray(scaled)


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [n, h, w, 3] to float32 [n, 3, h, w] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255


def resized(pictures: torch.Tensor, side_px: int) -> torch.Tensor:
    """[n, c, s, s] scaled to [n, c, side_px, side_px]."""
    return F.interpolate(pictures, (side_px, side_px), mode="bilinear", antialias=True)
