import io

import numpy as np
import pytest
from PIL import Image

from aela.evaluation import pictures


def shown(png):
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 60_000  # metadata in a page: many of them must load at once
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def jpeg(colour, size=(160, 120), noise=0):
    rng = np.random.default_rng(0)
    picture = np.full((size[1], size[0], 3), colour) + rng.normal(0, noise, (size[1], size[0], 3))
    buffer = io.BytesIO()
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


RED, BLUE, GREEN = (210, 30, 30), (30, 30, 210), (30, 180, 30)


def near(picture, colour):
    return (np.abs(picture - np.array(colour)).max(axis=-1) < 25).sum()


def test_a_distance_matrix_parts_train_and_test():
    distances = np.zeros((20, 20))
    distances[:14, 14:] = distances[14:, :14] = 1
    parted = shown(pictures.distance_matrix(distances, 14))
    whole = shown(pictures.distance_matrix(distances, 20))
    dark, light = (68, 1, 84), (253, 231, 37)  # the ends of viridis
    assert near(parted, dark) / near(parted, light) == pytest.approx(232 / 168, rel=0.25)
    white = (255, 255, 255)
    inside = slice(60, 360)  # the lines are drawn inside the matrix
    assert near(parted[inside, 60:300], white) > near(whole[inside, 60:300], white) + 300


def test_curves_with_losses_of_very_different_size_can_be_read():
    curve = [
        {"step": float(s), "loss": 100 * 0.9**s, "length": 0.01 + 0.001 * s} for s in range(60)
    ]
    picture = shown(pictures.loss_curves(curve, "word_autoencoder"))
    assert near(picture, (31, 119, 180)) > 200
    assert near(picture, (255, 127, 14)) > 200


def test_a_contact_sheet_shows_every_picture_and_stays_small():
    noisy = [jpeg(colour, noise=25) for colour in (RED, BLUE, GREEN) for _ in range(16)]
    shown(pictures.contact_sheet(noisy, [f"{i} s" for i in range(48)]))
    picture = shown(pictures.contact_sheet([jpeg(RED), jpeg(BLUE), jpeg(GREEN)]))
    areas = [near(picture, colour) for colour in (RED, BLUE, GREEN)]
    assert min(areas) > 5_000
    assert max(areas) < 1.2 * min(areas)


def test_captions_too_long_for_their_picture_end_in_dots():
    one = pictures.contact_sheet([jpeg(RED)] * 2, ["a" * 200, "b"])
    assert shown(one).shape[1] <= pictures.SHEET_WIDTH


def test_pictures_of_other_shapes_fit():
    sheet = pictures.contact_sheet([jpeg(RED, (300, 20)), jpeg(BLUE, (20, 300))], ["wide", "tall"])
    assert near(shown(sheet), BLUE) > 500


def test_spectrograms_share_one_time_scale():
    time_s = np.arange(44_100) / 44_100
    tone = np.sin(2 * np.pi * 1000 * time_s).astype(np.float32)
    picture = shown(pictures.spectrograms([tone, tone[:22_050], tone[:100]], ["1 s", "½ s", "hop"]))
    bright = (picture.sum(axis=-1) > 600) & (picture[..., 0] - picture[..., 2] > 20)
    columns = np.flatnonzero(bright[30:-30].any(axis=0))
    half = picture.shape[1] // 3
    long, short = (columns < half).sum(), ((columns >= half) & (columns < 2 * half)).sum()
    assert short == pytest.approx(long / 2, rel=0.25)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pictures.distance_matrix(np.zeros((2, 3)), 1),
        lambda: pictures.distance_matrix(np.zeros((2, 2)), 3),
        lambda: pictures.loss_curves([{"step": 1.0}]),
        lambda: pictures.contact_sheet([]),
        lambda: pictures.spectrograms([np.zeros(9)], []),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw):
    with pytest.raises(ValueError):
        draw()
