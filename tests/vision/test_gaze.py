"""Finding the thing in pictures made here: a turning patterned disc before a room."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, shift

from aela.vision.gaze import SIDE, beside, boxes, cut_out, figure, residual_motion


def room(seed: int, side: int = 2 * SIDE) -> np.ndarray:
    """A smooth coloured texture, float [side, side, 3] in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=(side, side, 3))
    smooth = gaussian_filter(noise, (6, 6, 0.5))
    return (smooth - smooth.min()) / np.ptp(smooth)


def seen(
    room_: np.ndarray, *, pan: tuple[float, float] = (0, 0), angle: float = 0.0, disc: bool = True
) -> torch.Tensor:
    """One view [1, 3, SIDE, SIDE]: the room shifted by `pan` pixels, a disc turned by `angle`."""
    view = np.stack(
        [
            shift(room_[..., c], (-pan[0], -pan[1]))[SIDE // 2 :][:SIDE, SIDE // 2 :][:, :SIDE]
            for c in range(3)
        ]
    )
    if disc:
        y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2 + np.array(pan)[:, None, None]
        around = np.arctan2(y, x) + angle
        spokes = 0.5 + 0.5 * np.tanh(3 * np.sin(4 * around))
        inside = np.hypot(x, y) < SIDE / 4
        view = np.where(inside, np.stack([spokes, 0.1 * spokes, 1 - spokes]), view)
    return torch.from_numpy(view)[None].float()


def on_disc() -> torch.Tensor:
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
    return torch.from_numpy(np.hypot(x, y) < SIDE / 4)


@pytest.mark.parametrize("pan", [(0.0, 0.0), (2.5, -4.0)])
def test_what_turns_by_itself_is_left_over_from_the_motion_of_the_camera(
    pan: tuple[float, float],
) -> None:
    background = room(seed=0)
    rest = residual_motion(seen(background, pan=pan, angle=0.2), seen(background))[0]
    assert rest[on_disc()].mean() > 5 * rest[~on_disc()].mean()


def test_a_brighter_exposure_is_no_motion() -> None:
    frame = seen(room(seed=1), disc=False)
    assert residual_motion(0.8 * frame, frame).max() < 0.03


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_the_figure_is_the_turning_disc(seed: int) -> None:
    background = room(seed)
    frame = seen(background)
    motion = residual_motion(seen(background, pan=(1, 1), angle=0.2), frame)
    found = figure(frame, motion)[0] > 0.5
    common, either = (found & on_disc()).sum(), (found | on_disc()).sum()
    assert common / either > 0.6
    left, top, right, bottom = boxes(figure(frame, motion))[0].tolist()
    assert (left, top) == pytest.approx((0.25, 0.25), abs=0.1)
    assert (right, bottom) == pytest.approx((0.75, 0.75), abs=0.1)


def test_where_there_is_no_figure_the_middle_is_looked_at() -> None:
    box = boxes(torch.zeros(1, SIDE, SIDE))[0]
    assert box[0] + box[2] == pytest.approx(1)
    assert box[1] + box[3] == pytest.approx(1)
    assert 0.3 < box[2] - box[0] < 1


def test_what_is_cut_out_keeps_its_shape_and_reaches_over_the_border() -> None:
    picture = torch.zeros(3, 100, 300)
    picture[:, 40:60, 0:20] = 1  # a square thing at the left border
    box = torch.tensor([0, 0.4, 20 / 300, 0.6])
    cut = cut_out(picture, torch.ones(SIDE, SIDE), box, 2.0, 40)
    assert cut.shape == (4, 40, 40)
    bright = cut[0] > 0.5
    assert bright.any(dim=0).sum() == pytest.approx(bright.any(dim=1).sum() * 1.5, abs=3)
    assert cut[3, 20, 30] == 1
    assert cut[3, 20, 5] == 0


def test_beside_the_thing_lies_the_ground():
    assert beside((0.5, 0.2, 0.9, 0.8)) == (0.0, 0.0, 0.5, 1.0)
    assert beside((0.1, 0.1, 0.9, 0.5)) == (0.0, 0.5, 1.0, 1.0)
    assert beside((0.05, 0.05, 0.95, 0.95)) is None
