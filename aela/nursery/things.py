"""The things a nursery shows and names, each built from solid shapes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from aela.nursery.solids import (
    GLASS,
    MATT,
    PLASTIC,
    STEEL,
    WOOD,
    FloatArray,
    Material,
    Surface,
    plain,
    revolve,
    slab,
    surface,
    sweep,
)

Colour = Sequence[float]


@dataclass(frozen=True)
class Thing:
    """A thing: how it is called and built.

    `sway_deg` is how far it turns away from the viewer to either side; a thing that looks like
    something from behind as well turns all the way round (180). `tilt_deg` is how it lies in the
    image: long things lie aslant.
    """

    name: str
    word: str
    build: Callable[[], list[Surface]]
    sway_deg: float = 180.0
    tilt_deg: float = 0.0


def _grain(height: int, width: int, blur: tuple[float, float], seed: int) -> FloatArray:
    """Smooth random values (height, width, 1) with mean 0 and deviation 1."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    smooth = gaussian_filter(noise, blur, mode="wrap")
    return (smooth / smooth.std()).astype(np.float32)[:, :, None]


def _streaked(colour: Colour, strength: float, blur: tuple[float, float], seed: int) -> FloatArray:
    texture = np.asarray(colour) * (1 + strength * _grain(160, 160, blur, seed))
    return np.clip(texture, 0, 1).astype(np.float32)


def _font(size: int, family: str = "DejaVuSans-Bold") -> ImageFont.FreeTypeFont:
    # matplotlib carries these fonts, so that every machine draws the same letters.
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / f"{family}.ttf"), size)


def _rgb(colour: Colour) -> tuple[int, int, int]:
    r, g, b = (round(255 * c) for c in colour)
    return r, g, b


def _painted(
    width: int, height: int, ground: Colour, paint: Callable[[ImageDraw.ImageDraw], None]
) -> FloatArray:
    image = Image.new("RGB", (width, height), _rgb(ground))
    paint(ImageDraw.Draw(image))
    return np.asarray(image, np.float32) / np.float32(255)


# --- Things -------------------------------------------------------------------------------------


def _acorn() -> list[Surface]:
    nut = _streaked((0.62, 0.37, 0.13), 0.12, (30, 2.5), 1)
    ripe = np.linspace(0, 1, 160)[:, None, None] ** 2
    nut = (nut * (1 - 0.35 * ripe) + np.array([0.10, 0.09, 0.0]) * (1 - ripe)).astype(np.float32)
    body = revolve(
        [(0.35, 0.5), (0.1, 0.6), (-0.25, 0.57), (-0.55, 0.43), (-0.78, 0.2), (-0.84, 0.06),
         (-0.98, 0.0)],
        nut,
        PLASTIC,
    )  # fmt: skip
    rows, columns = 61, 97
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    scales = np.abs(np.sin(math.pi * (i / 6 + j / 6))) * np.abs(np.sin(math.pi * (i / 6 - j / 6)))
    scales = scales.astype(np.float32)
    cap = np.array([0.40, 0.27, 0.15]) * (0.45 + 0.9 * scales[:, :, None])
    crown = revolve(
        [(0.72, 0.0), (0.68, 0.25), (0.55, 0.5), (0.36, 0.66), (0.22, 0.7), (0.14, 0.66),
         (0.14, 0.45)],
        cap.astype(np.float32),
        MATT,
        rows,
        columns,
        0.045 * scales,
    )  # fmt: skip
    stem = sweep(
        [(0, 0.66, 0), (0.01, 0.8, 0), (0.06, 0.92, 0), (0.14, 1.0, 0)],
        [0.07, 0.05, 0.05, 0.065],
        [0.07, 0.05, 0.05, 0.065],
        _streaked((0.36, 0.26, 0.14), 0.2, (2, 20), 2),
        MATT,
    )
    return [body, crown, stem]


def _spoon() -> list[Surface]:
    steel = plain((0.84, 0.85, 0.88))
    handle = sweep(
        [(0, 0.2, -0.02), (0, 0.05, 0.05), (0, -0.4, 0.08), (0, -0.85, 0.0), (0, -1, -0.03)],
        [0.1, 0.055, 0.07, 0.13, 0.02],
        [0.03, 0.04, 0.03, 0.025, 0.01],
        steel,
        STEEL,
        50,
    )
    radius, angle = np.meshgrid(np.linspace(0, 1, 20), np.linspace(0, 2 * math.pi, 61))
    radius, angle = radius.T, angle.T
    egg = 0.33 * (1 - 0.14 * np.sin(angle))  # broader towards the handle

    def bowl(rim: float, depth: float) -> Surface:
        x, y = rim * radius * egg * np.cos(angle), 0.57 + rim * 0.43 * radius * np.sin(angle)
        return surface(np.stack([x, y, depth * (radius**2.2 - 1)], axis=2), steel, STEEL)

    return [bowl(1.0, 0.19), bowl(1.02, 0.23), handle]


def _pen() -> list[Surface]:
    blue, dark = (0.08, 0.2, 0.66), (0.05, 0.06, 0.1)
    barrel = revolve([(0.8, 0.115), (0.3, 0.12), (-0.25, 0.12)], plain(blue), PLASTIC, 12)
    ring = revolve([(-0.24, 0.125), (-0.26, 0.132), (-0.3, 0.125)], plain((0.9, 0.8, 0.4)), STEEL)
    ribs = np.tile(np.array([[dark], [(0.22, 0.23, 0.27)]], np.float32), (11, 1, 1))
    grip = revolve([(-0.29, 0.115), (-0.5, 0.125), (-0.74, 0.1)], ribs, MATT, 40)
    tip = revolve(
        [(-0.73, 0.1), (-0.8, 0.085), (-0.93, 0.035), (-0.94, 0.02), (-1.0, 0.012)],
        plain((0.8, 0.8, 0.82)),
        STEEL,
    )
    collar = revolve([(0.84, 0.0), (0.84, 0.1), (0.79, 0.118)], plain((0.8, 0.8, 0.82)), STEEL)
    button = revolve([(1.0, 0.0), (0.99, 0.05), (0.84, 0.055)], plain((0.8, 0.15, 0.12)), PLASTIC)
    clip = sweep(
        [(0, 0.8, 0.1), (0, 0.79, 0.19), (0, 0.5, 0.18), (0, 0.22, 0.15)],
        [0.035, 0.04, 0.04, 0.045],
        [0.015, 0.018, 0.018, 0.02],
        plain((0.85, 0.85, 0.87)),
        STEEL,
    )
    return [barrel, ring, grip, tip, collar, button, clip]


def _bottle() -> list[Surface]:
    glass = _streaked((0.05, 0.36, 0.17), 0.08, (40, 6), 3)
    body = revolve(
        [(0.8, 0.115), (0.5, 0.125), (0.36, 0.17), (0.18, 0.33), (0.06, 0.36), (-0.5, 0.36),
         (-0.93, 0.355), (-0.985, 0.31), (-1.0, 0.0)],
        glass,
        GLASS,
        60,
    )  # fmt: skip

    def label(draw: ImageDraw.ImageDraw) -> None:
        draw.rectangle((0, 0, 900, 26), fill=(190, 40, 30))
        draw.rectangle((0, 274, 900, 300), fill=(190, 40, 30))
        for x in (225, 675):
            draw.ellipse((x - 95, 50, x + 95, 240), fill=(240, 175, 30))
            draw.ellipse((x - 70, 75, x + 70, 215), fill=(230, 110, 25))
            draw.polygon([(x - 20, 70), (x + 60, 30), (x + 30, 85)], fill=(40, 130, 50))
            draw.text((x, 250), "ORANGE", (60, 40, 30), _font(26), anchor="mm")

    paper = _painted(900, 300, (0.95, 0.92, 0.82), label)
    wrapped = revolve([(0.0, 0.366), (-0.3, 0.367), (-0.68, 0.366)], paper, MATT, 8)
    rows, columns = 12, 97
    ribs = np.abs(np.sin(np.linspace(0, 24 * math.pi, columns)))
    cap = revolve(
        [(1.0, 0.0), (0.99, 0.13), (0.97, 0.145), (0.84, 0.15), (0.83, 0.12)],
        plain((0.86, 0.65, 0.12)),
        PLASTIC,
        rows,
        columns,
        np.broadcast_to(0.008 * ribs, (rows, columns)).astype(np.float32),
    )
    return [body, wrapped, cap]


def _toothbrush() -> list[Surface]:
    def stripes(draw: ImageDraw.ImageDraw) -> None:
        for x0 in (0, 100):  # both edges of the handle stay turquoise, its faces are white
            draw.rectangle((x0 - 14, 0, x0 + 14, 400), fill=(0, 160, 165))
        draw.rectangle((36, 0, 64, 400), fill=(0, 160, 165))
        draw.rectangle((0, 240, 100, 330), fill=(0, 160, 165))
        for y in range(248, 326, 14):
            draw.rectangle((0, y, 100, y + 5), fill=(0, 105, 115))

    path = [(0, 1.0, 0), (0, 0.97, 0), (0, 0.6, 0), (0, 0.4, 0), (0, 0.2, 0.02), (0, -0.3, 0.05),
            (0, -0.75, 0.01), (0, -0.96, 0), (0, -1.0, 0)]  # fmt: skip
    body = sweep(
        path,
        [0.02, 0.11, 0.14, 0.055, 0.06, 0.105, 0.085, 0.07, 0.01],
        [0.02, 0.045, 0.05, 0.045, 0.055, 0.085, 0.07, 0.06, 0.01],
        _painted(100, 400, (0.93, 0.94, 0.95), stripes),
        PLASTIC,
        70,
    )
    parts = [body]
    for row in range(9):
        for column in range(4):
            x, y = (column - 1.5) * 0.056, 0.94 - row * 0.05
            colour = (0.2, 0.45, 0.85) if 3 <= row <= 5 else (0.96, 0.96, 0.93)
            height = 0.32 - 0.03 * abs(row - 4) / 4 * (row % 2)
            tuft = sweep(
                [(x, y, 0.02), (x, y + 0.001, height - 0.02), (x, y + 0.0015, height)],
                [0.02, 0.027, 0.005],
                [0.02, 0.024, 0.005],
                np.array([[colour]] * 3 + [[[0.75 * c for c in colour]]], np.float32)[::-1],
                MATT,
                5,
                9,
            )
            parts.append(tuft)
    return parts


def _thermometer() -> list[Surface]:
    def scale(draw: ImageDraw.ImageDraw) -> None:
        draw.rounded_rectangle((40, 50, 260, 860), 60, fill=(245, 240, 225))
        draw.text((88, 100), "°C", (30, 30, 30), _font(36), anchor="mm")
        draw.text((212, 100), "°F", (30, 30, 30), _font(36), anchor="mm")
        for n in range(41):
            y, long = 160 + 14 * n, n % 5 == 0
            for side in (-1, 1):
                start, end = 150 + 24 * side, 150 + (52 if long else 38) * side
                draw.line((start, y, end, y), (30, 30, 30), 4 if long else 2)
                if n % 10 == 0:
                    text = str(50 - n * 2 if side < 0 else 120 - n * 4)
                    draw.text((150 + 78 * side, y), text, (30, 30, 30), _font(34), anchor="mm")

    wood = _streaked((0.60, 0.36, 0.17), 0.1, (45, 2), 4)
    image = Image.fromarray((255 * wood).astype(np.uint8)).resize((300, 1000))
    board = Image.new("RGB", (300, 1000), (245, 240, 225))
    board.paste(image)
    scale(ImageDraw.Draw(board))
    front = np.asarray(board, np.float32) / np.float32(255)
    parts = slab((0.3, 1.0, 0.06), front, wood, plain((0.5, 0.3, 0.14)), WOOD)
    clear, red = plain((0.88, 0.92, 0.93)), plain((0.86, 0.07, 0.08))

    def rod(top: float, bottom: float, radius: float, colour: FloatArray) -> Surface:
        return revolve(
            [(top, 0.0), (top - 0.01, radius), ((top + bottom) / 2, radius), (bottom, radius)],
            colour,
            GLASS if colour is clear else PLASTIC,
            10,
            17,
        ).moved((0, 0, 0.1))

    bulb = [(-0.5, 0.035), (-0.54, 0.05), (-0.6, 0.105), (-0.68, 0.105), (-0.74, 0.0)]
    return [
        *parts,
        rod(0.78, 0.05, 0.04, clear),
        rod(0.06, -0.55, 0.042, red),
        revolve(bulb, red, PLASTIC, 20, 25).moved((0, 0, 0.1)),
    ]


def _mug() -> list[Surface]:
    def glaze(draw: ImageDraw.ImageDraw) -> None:
        draw.rectangle((0, 0, 1200, 40), fill=(35, 60, 130))
        draw.rectangle((0, 365, 1200, 400), fill=(35, 60, 130))
        for n in range(8):
            x, y = 75 + 150 * n, 150 + 110 * (n % 2)
            for k in range(6):
                a = k * math.pi / 3
                px, py = x + 34 * math.cos(a), y + 34 * math.sin(a)
                draw.ellipse((px - 22, py - 22, px + 22, py + 22), fill=(215, 50, 60))
            draw.ellipse((x - 18, y - 18, x + 18, y + 18), fill=(250, 205, 70))

    china = _painted(1200, 400, (0.95, 0.93, 0.88), glaze)
    outside = revolve(
        [(0.8, 0.6), (0.4, 0.6), (-0.5, 0.57), (-0.72, 0.5), (-0.75, 0.4), (-0.75, 0.0)],
        china,
        PLASTIC,
    )
    rim = revolve([(0.8, 0.6), (0.82, 0.58), (0.8, 0.55)], plain((0.14, 0.24, 0.5)), PLASTIC, 6)
    inside = revolve([(0.8, 0.55), (0.4, 0.55), (-0.1, 0.54)], plain((0.9, 0.88, 0.82)), PLASTIC)
    coffee = revolve([(0.42, 0.0), (0.42, 0.3), (0.42, 0.555)], plain((0.2, 0.1, 0.05)), PLASTIC, 8)
    handle = sweep(
        [(0.55, 0.5, 0), (0.8, 0.52, 0), (1.0, 0.3, 0), (0.98, -0.05, 0), (0.8, -0.35, 0),
         (0.52, -0.45, 0)],
        [0.08, 0.075, 0.07, 0.07, 0.07, 0.08],
        [0.12, 0.11, 0.1, 0.1, 0.1, 0.11],
        plain((0.14, 0.24, 0.5)),
        PLASTIC,
        44,
    )  # fmt: skip
    return [part.moved((-0.15, 0, 0)) for part in (outside, rim, inside, coffee, handle)]


def _banana() -> list[Surface]:
    spots = _grain(400, 160, (7, 1.5), 5) > 2.3
    ends = np.linspace(0, 1, 400)[:, None, None]
    yellow = np.array([0.95, 0.78, 0.16]) * (1 + 0.04 * _grain(400, 160, (60, 3), 6))
    green = np.clip(1 - ends / 0.16, 0, 1)
    skin = yellow * (1 - green) + np.array([0.55, 0.66, 0.2]) * green
    skin = np.where(spots, np.array([0.45, 0.28, 0.1]), skin)
    skin = np.where((ends < 0.03) | (ends > 0.965), np.array([0.22, 0.15, 0.08]), skin)
    skin = np.clip(skin, 0, 1).astype(np.float32)
    angle = np.radians(np.linspace(58, -62, 13))
    x, y = 1.25 * np.cos(angle) - 0.95, 1.12 * np.sin(angle)
    width = [0.05, 0.06, 0.075, 0.17, 0.215, 0.235, 0.24, 0.24, 0.23, 0.2, 0.14, 0.07, 0.03]
    path = np.stack([-x, y, np.zeros_like(x)], axis=1)
    return [sweep(path, width, width, skin, Material(0.22, 14.0), 60, 25, 0.82)]


def _card(
    text: str, ground: Colour, ink: Colour, frame: Colour, family: str, shape: str
) -> list[Surface]:
    """A letter card: a `tall` or `wide` paper card with a frame, or a wooden `block`."""
    width, height = {"tall": (600, 800), "wide": (900, 600), "block": (600, 600)}[shape]

    def face(draw: ImageDraw.ImageDraw) -> None:
        draw.rectangle((26, 26, width - 26, height - 26), outline=_rgb(frame), width=30)
        if shape == "wide":
            for x in (90, width - 90):
                for y in (90, height - 90):
                    draw.ellipse((x - 22, y - 22, x + 22, y + 22), fill=_rgb(frame))
        size = 100
        while _font(size, family).getlength(text) < 0.66 * width and size < 0.72 * height:
            size += 4
        middle = (width / 2, height / 2)
        draw.text((middle[0] + 8, middle[1] + 8), text, _rgb([0.6 * g for g in ground]),
                  _font(size, family), anchor="mm")  # fmt: skip
        draw.text(middle, text, _rgb(ink), _font(size, family), anchor="mm")

    if shape == "block":
        wood = np.asarray(
            Image.fromarray((255 * _streaked(ground, 0.06, (3, 40), 7)).astype(np.uint8)).resize(
                (width, height)
            ),
            np.float32,
        )
        side = np.minimum(_painted(width, height, (1, 1, 1), face), wood / 255)
        return slab((0.72, 0.72, 0.72), side, side, side, WOOD)
    half = (0.72, 0.96, 0.03) if shape == "tall" else (0.98, 0.65, 0.03)
    rough = 1 + 0.02 * _grain(height, width, (6, 6), 8)
    front = np.clip(_painted(width, height, ground, face) * rough, 0, 1).astype(np.float32)
    return slab(half, front, plain([0.9 * g for g in ground]), plain((0.9, 0.88, 0.84)), MATT)


def _mushroom() -> list[Surface]:
    dots = _painted(900, 300, (0.8, 0.09, 0.07), _dots)
    cap = revolve(
        [(0.8, 0.0), (0.75, 0.3), (0.55, 0.62), (0.25, 0.82), (0.1, 0.84), (0.05, 0.78)],
        dots,
        PLASTIC,
    )
    folds = np.tile(
        np.array([[(0.93, 0.88, 0.76)], [(0.7, 0.63, 0.5)]], np.float32).transpose(1, 0, 2),
        (1, 60, 1),
    )
    gills = revolve([(0.05, 0.78), (0.12, 0.5), (0.15, 0.15)], folds, MATT, 12, 97)
    stalk = revolve(
        [(0.15, 0.17), (-0.2, 0.17), (-0.6, 0.21), (-0.85, 0.28), (-0.95, 0.2), (-0.97, 0.0)],
        _streaked((0.93, 0.9, 0.8), 0.05, (30, 2), 9),
        MATT,
    )
    skirt = revolve([(-0.05, 0.18), (-0.12, 0.3), (-0.2, 0.36)], plain((0.9, 0.86, 0.74)), MATT, 10)
    return [cap, gills, stalk, skirt]


def _dots(draw: ImageDraw.ImageDraw) -> None:
    rng = np.random.default_rng(10)
    for n in range(26):
        x, y = n % 13 * 69 + rng.uniform(0, 30), 60 + 110 * (n // 13) + rng.uniform(0, 60)
        r = rng.uniform(12, 24)
        draw.ellipse((x - 1.3 * r, y - r, x + 1.3 * r, y + r), fill=(250, 245, 232))


def _hammer() -> list[Surface]:
    handle = sweep(
        [(0, 0.75, 0), (0, 0.3, 0), (0, -0.3, 0), (0, -0.75, 0), (0, -0.97, 0), (0, -1, 0)],
        [0.085, 0.075, 0.1, 0.13, 0.12, 0.02],
        [0.07, 0.065, 0.085, 0.1, 0.1, 0.02],
        _streaked((0.78, 0.56, 0.3), 0.08, (40, 2), 11),
        WOOD,
    )
    steel = plain((0.42, 0.43, 0.47))
    head = sweep(
        [(-0.5, 0.72, 0), (-0.47, 0.72, 0), (-0.3, 0.72, 0), (-0.22, 0.72, 0), (0.15, 0.72, 0),
         (0.3, 0.73, 0), (0.6, 0.64, 0)],
        [0.02, 0.17, 0.17, 0.13, 0.14, 0.12, 0.02],
        [0.02, 0.17, 0.17, 0.13, 0.14, 0.13, 0.15],
        steel,
        Material(0.6, 40.0, 0.6),
        60,
    )  # fmt: skip
    return [handle, head]


THINGS: tuple[Thing, ...] = (
    Thing("acorn", "acorn", _acorn, tilt_deg=-12),
    Thing("spoon", "spoon", _spoon, 75, tilt_deg=35),
    Thing("bottle", "bottle", _bottle),
    Thing("toothbrush", "toothbrush", _toothbrush, tilt_deg=-50),
    Thing("thermometer", "thermometer", _thermometer, 60, tilt_deg=8),
    Thing(
        "card_a",
        "A",
        lambda: _card("A", (0.98, 0.95, 0.86), (0.8, 0.1, 0.12), (0.15, 0.35, 0.7),
                      "DejaVuSans-Bold", "tall"),
        55,
    ),
    Thing("pen", "pen", _pen, tilt_deg=-40),
    Thing(
        "card_pha",
        "PHA",
        lambda: _card("PHA", (0.98, 0.85, 0.35), (0.12, 0.14, 0.4), (0.9, 0.4, 0.1),
                      "DejaVuSerif-Bold", "wide"),
        55,
    ),
    Thing("banana", "banana", _banana, tilt_deg=-60),
    Thing("mug", "mug", _mug),
    Thing(
        "block_b",
        "B",
        lambda: _card("B", (0.87, 0.72, 0.5), (0.1, 0.4, 0.2), (0.1, 0.4, 0.2),
                      "DejaVuSerif-Bold", "block"),
    ),
    Thing(
        "card_al",
        "AL",
        lambda: _card("AL", (0.16, 0.42, 0.36), (0.97, 0.96, 0.9), (0.95, 0.75, 0.3),
                      "DejaVuSansMono-Bold", "wide"),
        55,
    ),
)  # fmt: skip
"""What can be learned, in the order in which smaller sets take them."""

UNKNOWN_THINGS: tuple[Thing, ...] = (
    Thing("mushroom", "mushroom", _mushroom),
    Thing("hammer", "hammer", _hammer, tilt_deg=30),
)
"""What is shown in tests but never named: there the learner should stay silent."""

SKINS: tuple[tuple[float, float, float], ...] = (
    (0.90, 0.68, 0.55),
    (0.76, 0.53, 0.38),
    (0.48, 0.31, 0.21),
)
"""Colours of hands."""


def hand(skin: Colour) -> list[Surface]:
    """An open right hand, fingers up, its arm leaving far below (to y = -4)."""
    texture = _streaked(skin, 0.035, (5, 5), 12)
    texture[:, :, 1:] *= 1 + 0.02 * _grain(160, 160, (9, 9), 13)
    texture = np.clip(texture, 0, 1)
    look = Material(0.12, 10.0)
    parts = [
        sweep(
            [(0, 0.1, 0), (0, 0.06, 0), (0, -0.25, 0), (0.02, -0.6, 0), (0.02, -0.85, 0),
             (0.05, -1.6, 0), (0.1, -4, 0)],
            [0.1, 0.36, 0.42, 0.36, 0.25, 0.31, 0.45],
            [0.03, 0.12, 0.15, 0.16, 0.16, 0.2, 0.3],
            texture,
            look,
            60,
            33,
            0.85,
        )
    ]  # fmt: skip
    for x, length, width, lean in ((-0.3, 0.52, 0.085, -0.2), (-0.11, 0.72, 0.098, -0.07),
                                   (0.1, 0.8, 0.1, 0.03), (0.3, 0.7, 0.095, 0.14)):  # fmt: skip
        base = np.array([x, -0.08, 0.03])
        way = np.array([lean, 1.0, 0.12])
        knots = [base + length * t * way for t in (0, 0.3, 0.5, 0.62, 0.8, 0.95, 1.0)]
        half = width * np.array([1.05, 0.98, 1.06, 0.9, 0.95, 0.7, 0.05])
        parts.append(sweep(knots, half, 0.9 * half, texture, look, 30, 17))
        nail = sweep(
            [knots[-3] + (0, 0.06, 0.72 * width), knots[-2] + (0, 0.01, 0.5 * width)],
            [0.055, 0.05],
            [0.012, 0.012],
            plain([min(1.0, 1.08 * c + 0.03) for c in skin]),
            PLASTIC,
            8,
            13,
        )
        parts.append(nail)
    thumb = [(0.2, -0.62, 0.08), (0.45, -0.4, 0.12), (0.62, -0.15, 0.14), (0.72, 0.06, 0.14),
             (0.75, 0.13, 0.14)]  # fmt: skip
    half = np.array([0.2, 0.16, 0.115, 0.1, 0.01])
    return [*parts, sweep(thumb, half, 0.85 * half, texture, look, 30, 17)]
