"""Finds the thing in a frame, without having learned anything: figure and ground.

Three cues, each weak on its own. What turns or is moved goes another way than the room, which only
follows the camera: the views shortly before and after are registered onto the frame, and what is
left over moves by itself. What people look at is near the middle. And the border of the picture is
mostly room, so colours that occur there are room, too (the boundary prior of Wei et al. 2012,
"Geodesic Saliency Using Background Priors"). Colour models of figure and ground are fitted in each
frame, starting from motion and middle (as in Rother et al. 2004, "GrabCut", with histograms and
smoothing in place of graph cuts).
"""

import math

import torch
from torch.nn import functional as F

SIDE = 64  # pictures are squeezed to this many pixels a side

# Registration: (side in pixels, Gauss-Newton steps), coarse to fine.
SCALES = ((16, 8), (32, 6))
LARGEST_STEP = 0.2  # of any parameter, where the picture reaches from -1 to 1
GAIN_LIMITS = (0.5, 2.0)  # exposure differs between neighbouring views by less than this
LEAST_NOISE = 0.008  # of grey values in [0, 1]

# Figure and ground. Evidence is in nats: log-odds of being figure.
ROUNDS = 4
BINS = 8  # per colour channel; two histograms, shifted by half a bin
LEAST_SHARE = 3e-4  # of a histogram's bin, so that rare colours decide nothing
COLOUR_LIMIT = 3.0
MOTION_SMOOTHING_PX = 1.5
MOTION_OF_ROOM = 0.7  # log of the residual relative to the frame's median
MOTION_LIMITS = (-1.0, 1.5)
MIDDLE_WIDTH = 0.5  # standard deviation, where the picture reaches from -1 to 1
BORDER = 0.88  # what is further out is border
BORDER_EVIDENCE = -6.0
BORDER_WEIGHT = 2.0  # in the colours of the ground

LEAST_FIGURE_PX = 20  # smaller figures are nothing
BOX_TAIL = 0.03  # share of the figure left out at each side of its box
MIDDLE_BOX = (0.2, 0.2, 0.8, 0.8)  # looked at when there is no figure
LEAST_GROUND = 0.15  # of the frame's side: what is narrower shows nothing of the room


def _coordinates(side: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y of pixel centres, [side, side] each, where the picture reaches from -1 to 1."""
    line = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x, y


def _exposed_like(view: torch.Tensor, frame: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`view` with the gain and offset per channel that fit it to `frame`; all [n, c, s, s]."""
    weight = weight / weight.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    view = view - (view * weight).sum(dim=(2, 3), keepdim=True)
    mean = (frame * weight).sum(dim=(2, 3), keepdim=True)
    power = (view**2 * weight).sum(dim=(2, 3), keepdim=True)
    product = (view * (frame - mean) * weight).sum(dim=(2, 3), keepdim=True)
    return view * ((product + 1e-3) / (power + 1e-3)).clamp(*GAIN_LIMITS) + mean


def _sampled(
    pictures: torch.Tensor, motion: torch.Tensor, side: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures moved by [n, 3, 3] affine maps, and [n, 1, side, side] where they have content."""
    grid = F.affine_grid(motion[:, :2], [len(pictures), 1, side, side], align_corners=False)
    inside = (grid.abs() < 1 - 1 / side).all(dim=3)[:, None].float()
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False), inside


def residual_motion(views: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """What differs between two pictures once the camera's motion is taken out.

    An affine motion is estimated by robust Gauss-Newton (iteratively reweighted Lucas-Kanade:
    Baker and Matthews 2004, "Lucas-Kanade 20 Years On"), so that the larger part, the room,
    decides it.

    Args:
        views, frames: float [n, 3, SIDE, SIDE] in [0, 1].

    Returns:
        float [n, SIDE, SIDE], the absolute difference; 0 where only the frame has content.
    """
    n, device = len(frames), frames.device
    motion = torch.eye(3, device=device).repeat(n, 1, 1)
    grey_views, grey_frames = (x.mean(dim=1, keepdim=True) for x in (views, frames))
    weight = torch.ones(n, 1, *frames.shape[2:], device=device)
    for side, steps in SCALES:
        view, frame = (
            F.interpolate(x, (side, side), mode="area") for x in (grey_views, grey_frames)
        )
        weight = F.interpolate(weight, (side, side), mode="area")
        x, y = _coordinates(side, device)
        for _ in range(steps):
            moved, inside = _sampled(view, motion, side)
            moved = _exposed_like(moved, frame, weight * inside)
            difference = frame - moved
            noise = 2 * (difference.abs() * inside).flatten(1).median(dim=1).values + LEAST_NOISE
            weight = inside / (1 + (difference / noise[:, None, None, None]) ** 2) ** 2
            padded = F.pad(moved, (1, 1, 1, 1), mode="replicate")[:, 0]
            dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) * side / 4
            dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) * side / 4
            jacobian = torch.stack([dx * x, dx * y, dx, dy * x, dy * y, dy], dim=3).flatten(1, 2)
            weighted = (jacobian * weight.flatten(1)[..., None]).transpose(1, 2)
            normal = weighted @ jacobian
            damping = 1e-3 * torch.diag_embed(normal.diagonal(dim1=1, dim2=2))
            normal = normal + damping + 1e-2 * torch.eye(6, device=device)
            right = weighted @ difference.flatten(1)[..., None]
            step = torch.linalg.solve(normal, right).clamp(-LARGEST_STEP, LARGEST_STEP)
            update = torch.eye(3, device=device).repeat(n, 1, 1)
            update[:, :2] += step.view(n, 2, 3)
            motion = motion @ update
    moved, inside = _sampled(views, motion, frames.shape[3])
    weight = F.interpolate(weight, frames.shape[2:], mode="bilinear") * inside
    difference = frames - _exposed_like(moved, frames, weight)
    return (difference.abs() * inside).mean(dim=1)


def _smoothed(maps: torch.Tensor, width_px: float) -> torch.Tensor:
    """Gaussian smoothing of [n, s, s]."""
    reach = int(2.5 * width_px)
    line = torch.arange(-reach, reach + 1, device=maps.device) / width_px
    kernel = torch.exp(-(line**2) / 2)
    kernel = kernel / kernel.sum()
    maps = F.pad(maps[:, None], (reach, reach, reach, reach), mode="replicate")
    maps = F.conv2d(maps, kernel[None, None, None])
    return F.conv2d(maps, kernel[None, None, :, None])[:, 0]


def _colour_evidence(
    codes: torch.Tensor, figure: torch.Tensor, ground: torch.Tensor
) -> torch.Tensor:
    """Log-ratio of each pixel's colour under the histograms of figure and ground.

    Args:
        codes: int64 [n, pixels] number of each pixel's colour.
        figure, ground: float [n, pixels] weights.
    """
    shares = []
    for weight in (figure, ground):
        counts = weight.new_zeros(len(codes), (BINS + 1) ** 3).scatter_add_(1, codes, weight)
        shares.append(counts / counts.sum(dim=1, keepdim=True) + LEAST_SHARE)
    return (shares[0] / shares[1]).log().gather(1, codes)


def figure(frames: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
    """The probability that a pixel belongs to the thing.

    Args:
        frames: float [n, 3, SIDE, SIDE] in [0, 1].
        motion: float [n, SIDE, SIDE], of `residual_motion`; zeros where nothing is known.

    Returns:
        float [n, SIDE, SIDE] in [0, 1].
    """
    n = len(frames)
    x, y = _coordinates(SIDE, frames.device)
    middle = torch.exp(-(x**2 + y**2) / 2 / MIDDLE_WIDTH**2)
    border = ((x.abs() > BORDER) | (y.abs() > BORDER)).float()
    motion = _smoothed(motion, MOTION_SMOOTHING_PX)
    usual = motion.flatten(1).median(dim=1).values[:, None, None] + 0.004
    moving = (motion / usual).clamp(min=1e-3).log() - MOTION_OF_ROOM
    moving = 1.5 * moving.clamp(*MOTION_LIMITS)
    codes = []
    for offset in (0, 0.5):
        red, green, blue = (frames * (BINS - 0.01) + offset).long().flatten(2).unbind(dim=1)
        codes.append((red * (BINS + 1) + green) * (BINS + 1) + blue)
    result = torch.sigmoid(2 * moving + 3 * middle - 2 + BORDER_EVIDENCE * border)
    for _ in range(ROUNDS):
        weight = result.flatten(1)
        ground = 1 - weight + BORDER_WEIGHT * border.flatten()
        colour = torch.stack([_colour_evidence(code, weight, ground) for code in codes]).mean(dim=0)
        colour = colour.view(n, SIDE, SIDE).clamp(-COLOUR_LIMIT, COLOUR_LIMIT)
        around = 4 * (_smoothed(result, 2.5) - 0.5)
        evidence = _smoothed(colour, 0.8) + 1.5 * moving + around + 1.5 * middle - 0.3
        result = torch.sigmoid(evidence + BORDER_EVIDENCE * border)
    return result


def boxes(figures: torch.Tensor) -> torch.Tensor:
    """The box around each figure [n, SIDE, SIDE]: left, top, right, bottom in [0, 1], [n, 4]."""
    weight = figures * (figures > 0.5)
    edges = []
    for dim in (1, 2):  # over rows for left and right, over columns for top and bottom
        share = weight.sum(dim=dim).cumsum(dim=1)
        share = share / share[:, -1:].clamp(min=1e-6)
        first = (share < BOX_TAIL).sum(dim=1)
        last = (share < 1 - BOX_TAIL).sum(dim=1) + 1
        edges.append((first / SIDE, last.clamp(max=SIDE) / SIDE))
    result = torch.stack([edges[0][0], edges[1][0], edges[0][1], edges[1][1]], dim=1)
    nothing = (weight > 0).flatten(1).sum(dim=1) < LEAST_FIGURE_PX
    result[nothing] = torch.tensor(MIDDLE_BOX, device=figures.device)
    return result


def beside(box: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
    """The largest part of a frame at one side of a box, as a box; None where all are slivers.

    Boxes are left, top, right, bottom in [0, 1].
    """
    left, top, right, bottom = box
    parts = [(0.0, 0.0, left, 1.0), (right, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, top)]
    parts.append((0.0, bottom, 1.0, 1.0))
    largest = max(parts, key=lambda part: (part[2] - part[0]) * (part[3] - part[1]))
    narrow = min(largest[2] - largest[0], largest[3] - largest[1]) < LEAST_GROUND
    return None if narrow else largest


def cut_out(
    picture: torch.Tensor, figure: torch.Tensor, box: torch.Tensor, margin: float, side_px: int
) -> torch.Tensor:
    """A square around a box, with the figure as fourth channel.

    Args:
        picture: float [3, height, width] in [0, 1].
        figure: float [SIDE, SIDE].
        box: float [4], of `boxes`.
        margin: side of the square relative to the longer side of the box.

    Returns:
        float [4, side_px, side_px] in [0, 1]; mirrored content where it reaches over the border.
    """
    height, width = picture.shape[1:]
    left, top, right, bottom = box.tolist()
    side = margin * max((right - left) * width, (bottom - top) * height)
    square = torch.tensor(
        [
            [side / width, 0.0, left + right - 1],
            [0.0, side / height, top + bottom - 1],
        ],
        device=picture.device,
    )
    grid = F.affine_grid(square[None], [1, 1, side_px, side_px], align_corners=False)
    if side > side_px:  # shrink first: sampling alone would pick single pixels
        size = [math.ceil(x * side_px / side) for x in (height, width)]
        picture = F.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]
    colours = F.grid_sample(picture[None], grid, padding_mode="reflection", align_corners=False)
    mask = F.grid_sample(figure[None, None], grid, padding_mode="zeros", align_corners=False)
    return torch.cat([colours, mask], dim=1)[0]
