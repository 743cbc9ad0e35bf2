"""Random views of pictures, computed for a whole batch at once."""

import math

import torch
from torch.nn import functional as F


def _uniform(n: int, low: float, high: float, random: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, generator=random)


def placed(
    pictures: torch.Tensor,
    side_px: int,
    random: torch.Generator,
    *,
    zoom: tuple[float, float] = (0.55, 1.0),
    shift: float = 0.2,
    turn_degrees: float = 15.0,
) -> torch.Tensor:
    """Randomly cut out, turned, stretched and mirrored: [n, c, s, s] to [n, c, side_px, side_px].

    Args:
        zoom: range of the share of the side that is cut out.
        shift: largest offset of the middle, as a share of the side.
    """
    n = len(pictures)
    size = _uniform(n, *zoom, random)
    stretch = _uniform(n, -0.2, 0.2, random).exp()
    angle = _uniform(n, -turn_degrees, turn_degrees, random) * math.pi / 180
    mirror = torch.randint(0, 2, (n,), generator=random) * 2.0 - 1
    cos, sin = angle.cos() * size, angle.sin() * size
    offset = (2 * torch.rand(n, 2, generator=random) - 1) * 2 * shift
    rows = torch.stack(
        [
            torch.stack([mirror * cos * stretch, -sin, offset[:, 0]], dim=1),
            torch.stack([mirror * sin, cos / stretch, offset[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(rows, [n, pictures.shape[1], side_px, side_px], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def coloured(pictures: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Exposure, contrast and white balance drift a little; hue stays: it tells things apart."""
    n = len(pictures)
    gain = _uniform(n, -0.35, 0.35, random).exp()[:, None, None, None]
    contrast = _uniform(n, -0.25, 0.25, random).exp()[:, None, None, None]
    balance = (0.08 * torch.randn(n, 3, 1, 1, generator=random)).exp()
    saturation = _uniform(n, 0.6, 1.3, random)[:, None, None, None]
    grey = pictures.mean(dim=1, keepdim=True)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    pictures = grey + (pictures - grey) * saturation
    pictures = (pictures - mean) * contrast + mean
    return (pictures * gain * balance).clamp(0, 1)


def view(pictures: torch.Tensor, side_px: int, random: torch.Generator) -> torch.Tensor:
    """One random view of each picture: float [n, 3, s, s] to [n, 3, side_px, side_px]."""
    return coloured(placed(pictures, side_px, random), random)
