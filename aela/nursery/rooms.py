"""Rooms to film in: walls, tables and clutter, out of focus behind the thing that is held up.

Every room is made of a wall, a surface under it and clutter on both, from a seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from aela.nursery.solids import FloatArray

OVERSIZE = 1.7  # a room's picture is larger than the frame by this, to leave way for the camera
FOCUS_BLUR = 1 / 130  # deviation of the blur, as a share of the frame's height
Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """What a room is made of. `horizon` is where the wall ends (0 top, 1 bottom)."""

    name: str
    wall: str  # plaster, stripes, tiles, bricks, planks or hedge
    wall_colour: Rgb
    ground: str  # wood, cloth, stone or grass
    ground_colour: Rgb
    horizon: float
    clutter: tuple[str, ...]  # drawn from the back to the front


TRAINING_ROOMS: tuple[Room, ...] = (
    Room("study", "plaster", (0.72, 0.66, 0.55), "wood", (0.45, 0.27, 0.14), 0.62,
         ("window", "bookshelf", "lamp", "jars")),
    Room("kitchen", "tiles", (0.80, 0.84, 0.82), "stone", (0.42, 0.42, 0.45), 0.58,
         ("cupboards", "pans", "jars", "plant")),
    Room("playroom", "stripes", (0.45, 0.62, 0.75), "cloth", (0.75, 0.35, 0.33), 0.66,
         ("pictures", "boxes", "bookshelf", "balls")),
    Room("garden", "hedge", (0.22, 0.40, 0.16), "grass", (0.36, 0.52, 0.18), 0.52,
         ("sky", "fence", "flowers", "plant")),
)  # fmt: skip

NEW_ROOMS: tuple[Room, ...] = (
    Room("workshop", "bricks", (0.58, 0.30, 0.22), "wood", (0.62, 0.48, 0.32), 0.6,
         ("pans", "boxes", "lamp", "jars")),
    Room("veranda", "planks", (0.55, 0.60, 0.66), "stone", (0.66, 0.58, 0.48), 0.64,
         ("window", "flowers", "plant", "balls")),
    Room("bedroom", "stripes", (0.70, 0.55, 0.62), "cloth", (0.35, 0.38, 0.58), 0.55,
         ("window", "pictures", "lamp", "boxes")),
)  # fmt: skip
"""Rooms that are never seen in training."""


def picture_of(room: Room, width: int, height: int, seed: int) -> FloatArray:
    """The room as a picture (OVERSIZE * height, OVERSIZE * width, 3) in [0, 1], out of focus."""
    rng = np.random.default_rng(seed)
    w, h = round(OVERSIZE * width), round(OVERSIZE * height)
    horizon = round(room.horizon * h)
    canvas = np.empty((h, w, 3))
    canvas[:horizon] = _wall(room, horizon, w, rng)
    canvas[horizon:] = _ground(room, h - horizon, w, rng)
    image = Image.fromarray((255 * np.clip(canvas, 0, 1)).astype(np.uint8))
    painter = _Clutter(ImageDraw.Draw(image), rng, w, h, horizon)
    for kind in room.clutter:
        getattr(painter, kind)()
    picture = np.asarray(image, np.float64) / 255
    picture *= _daylight(h, w, rng)
    picture *= 1 + 0.05 * _noise(rng, h, w, (h / 12, w / 12))[:, :, None]
    blur = FOCUS_BLUR * height
    picture = gaussian_filter(picture, (blur, blur, 0), mode="nearest")
    return np.clip(picture, 0, 1).astype(np.float32)


def _noise(
    rng: np.random.Generator, height: int, width: int, blur: tuple[float, float]
) -> NDArray[np.float64]:
    """Smooth random values (height, width), mean 0, deviation 1."""
    shrink = max(1, int(min(blur) / 2))
    coarse = rng.standard_normal((height // shrink + 2, width // shrink + 2))
    coarse = gaussian_filter(coarse, (blur[0] / shrink, blur[1] / shrink), mode="wrap")
    coarse /= coarse.std()
    image = Image.fromarray(coarse.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float64)


def _daylight(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Brighter near a light at one side, darker away from it: (height, width, 1)."""
    x = np.linspace(0, 1, width)[None, :]
    y = np.linspace(0, 1, height)[:, None]
    at_x, at_y = rng.choice([0.1, 0.9]), rng.uniform(0.1, 0.5)
    distance = np.hypot(x - at_x, 0.8 * (y - at_y))
    return (1.18 - 0.55 * distance)[:, :, None]


def _wall(room: Room, h: int, w: int, rng: np.random.Generator) -> NDArray[np.float64]:
    y, x = np.mgrid[0:h, 0:w]
    tone = 1 + 0.06 * _noise(rng, h, w, (6, 6))
    unit = w / 12
    if room.wall == "stripes":
        tone += 0.22 * (np.floor(2 * x / unit) % 2 - 0.5)
    elif room.wall == "planks":
        tone += 0.25 * _noise(rng, h, w, (2, 60)) * 0.3 - 0.5 * (y % (unit / 1.5) < unit / 14)
    elif room.wall == "hedge":
        tone += 0.3 * _noise(rng, h, w, (4, 4)) + 0.2 * _noise(rng, h, w, (14, 14))
    elif room.wall in ("tiles", "bricks"):
        row_height = unit * (0.9 if room.wall == "tiles" else 0.45)
        row = np.floor(y / row_height)
        shifted = x + (row % 2) * unit / 2 * (room.wall == "bricks")
        column = np.floor(shifted / unit)
        each = 1 + (0.05 if room.wall == "tiles" else 0.16) * rng.standard_normal((200, 60))
        tone *= each[row.astype(int), column.astype(int)]
        joint = (y % row_height < unit / 16) | (shifted % unit < unit / 16)
        tone = np.where(joint, 0.75 if room.wall == "tiles" else 1.5, tone)
    return np.asarray(room.wall_colour) * tone[:, :, None]


def _ground(room: Room, h: int, w: int, rng: np.random.Generator) -> NDArray[np.float64]:
    y, x = np.mgrid[0:h, 0:w]
    near = (y + 0.25 * h) / h  # the surface comes towards the viewer: its pattern widens
    across = (x - w / 2) / near
    if room.ground == "wood":
        tone = 1 + 0.16 * _noise(rng, h, w, (1.5, 50)) - 0.4 * (across % (w / 5) < w / 90)
    elif room.ground == "cloth":
        stripe_a, stripe_b = np.floor(across / (w / 14)) % 2, np.floor(6 * np.log(near)) % 2
        tone = 1 + 0.05 * _noise(rng, h, w, (2, 2)) + 0.22 * (stripe_a + stripe_b - 1)
    elif room.ground == "stone":
        tone = 1 + 0.14 * _noise(rng, h, w, (2, 3)) + 0.14 * _noise(rng, h, w, (12, 20))
    else:
        tone = 1 + 0.22 * _noise(rng, h, w, (5, 1.5)) + 0.12 * _noise(rng, h, w, (15, 30))
    tone *= 0.85 + 0.2 * y / h
    tone[: max(2, h // 30)] *= 0.7  # where it meets the wall
    return np.asarray(room.ground_colour) * tone[:, :, None]


class _Clutter:
    """Paints groups of things into a room's picture; each method is one kind of clutter."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, rng: np.random.Generator, w: int, h: int, horizon: int
    ) -> None:
        self.draw, self.rng, self.w, self.h, self.horizon = draw, rng, w, h, horizon

    def _colour(self, low: float = 40, high: float = 215) -> tuple[int, int, int]:
        colour = self.rng.uniform(low, high, 3)
        r, g, b = 0.7 * colour + 0.3 * colour.mean()  # rooms are duller than what is held up
        return int(r), int(g), int(b)

    def _round(self, x: float, y: float, w: float, h: float, colour: tuple[int, int, int]) -> None:
        """An upright body with a lit and a shaded side."""
        steps = 12
        for n in range(steps):
            shade = 0.55 + 0.6 * np.sin(np.pi * (n + 0.6) / (steps + 2))
            fill = (
                int(min(255, shade * colour[0])),
                int(min(255, shade * colour[1])),
                int(min(255, shade * colour[2])),
            )
            self.draw.rectangle((x + w * n / steps, y, x + w * (n + 1) / steps, y + h), fill=fill)

    def sky(self) -> None:
        for y in range(self.horizon // 2):
            t = y / (self.horizon / 2)
            fill = (int(130 + 80 * t), int(175 + 50 * t), 235)
            self.draw.line((0, y, self.w, y), fill=fill)
        for _ in range(260):  # treetops
            x, r = self.rng.uniform(0, self.w), self.rng.uniform(0.01, 0.035) * self.w
            y = self.horizon * (0.5 + 0.06 * np.sin(9 * x / self.w)) + self.rng.normal(0, 0.5 * r)
            g = int(self.rng.uniform(60, 120))
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=(int(0.6 * g), g, int(0.4 * g)))

    def window(self) -> None:
        w, h = self.w, self.horizon
        x, y = self.rng.uniform(0.05, 0.6) * w, 0.08 * h
        x2, y2 = x + 0.27 * w, 0.68 * h
        self.draw.rectangle((x - 9, y - 9, x2 + 9, y2 + 9), fill=(235, 230, 220))
        self.draw.rectangle((x, y, x2, y2), fill=(215, 232, 250))
        self.draw.rectangle((x, y + 0.6 * (y2 - y), x2, y2), fill=(120, 160, 95))
        for t in (1 / 3, 2 / 3):
            bar = x + t * (x2 - x)
            self.draw.rectangle((bar - 4, y, bar + 4, y2), fill=(235, 230, 220))
        self.draw.rectangle((x, (y + y2) / 2 - 4, x2, (y + y2) / 2 + 4), fill=(235, 230, 220))
        curtain = self._colour(90, 200)
        for left in (x - 0.06 * w, x2 - 0.01 * w):
            for fold in range(4):
                self._round(left + 0.0175 * w * fold, 0, 0.0175 * w, 0.8 * h, curtain)

    def bookshelf(self) -> None:
        w, h = self.w, self.horizon
        x, width = self.rng.uniform(0.0, 0.55) * w, 0.42 * w
        for shelf in range(2):
            y = h * (0.34 + 0.36 * shelf)
            self.draw.rectangle((x, y - 0.25 * h, x + width, y), fill=(52, 36, 26))
            at = x + 4
            while at < x + width - 0.04 * w:
                thick = self.rng.uniform(0.012, 0.035) * w
                tall = self.rng.uniform(0.14, 0.23) * h
                self._round(at, y - tall, thick, tall, self._colour())
                band = y - tall * 0.75
                self.draw.rectangle((at, band, at + thick, band + 5), fill=self._colour(120, 240))
                at += thick + 2 + (self.rng.random() < 0.1) * 0.03 * w
            self.draw.rectangle((x - 8, y, x + width + 8, y + 0.035 * h), fill=(120, 80, 48))

    def cupboards(self) -> None:
        w, h = self.w, self.horizon
        colour = self._colour(110, 190)
        for n in range(5):
            x = w * (0.2 * n + 0.01)
            self.draw.rectangle((x, 0, x + 0.18 * w, 0.36 * h), fill=colour)
            inner = (int(0.85 * colour[0]), int(0.85 * colour[1]), int(0.85 * colour[2]))
            self.draw.rectangle(
                (x + 14, 0, x + 0.18 * w - 14, 0.36 * h - 14), outline=inner, width=4
            )
            self.draw.ellipse((x + 8, 0.29 * h, x + 20, 0.32 * h), fill=(225, 215, 190))
        self.draw.rectangle((0, 0.36 * h, w, 0.4 * h), fill=(60, 55, 50))

    def pictures(self) -> None:
        w, h = self.w, self.horizon
        for n in range(4):
            x, y = (
                w * (0.04 + 0.25 * n + self.rng.uniform(0, 0.05)),
                h * self.rng.uniform(0.08, 0.3),
            )
            pw, ph = w * self.rng.uniform(0.1, 0.17), h * self.rng.uniform(0.25, 0.42)
            self.draw.rectangle((x, y, x + pw, y + ph), fill=(70, 50, 35))
            self.draw.rectangle((x + 7, y + 7, x + pw - 7, y + ph - 7), fill=self._colour(120, 235))
            for _ in range(5):
                cx, cy = (
                    x + pw * self.rng.uniform(0.25, 0.75),
                    y + ph * self.rng.uniform(0.25, 0.75),
                )
                r = 0.14 * pw
                self.draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=self._colour())

    def fence(self) -> None:
        w, h = self.w, self.horizon
        for n in range(22):
            x = w * n / 22
            self._round(x, 0.68 * h, 0.032 * w, 0.36 * h, (196, 178, 150))
        self.draw.rectangle((0, 0.76 * h, w, 0.8 * h), fill=(165, 145, 118))

    def flowers(self) -> None:
        for _ in range(70):
            x = self.rng.uniform(0, self.w)
            y = self.horizon * self.rng.uniform(0.95, 1.25)
            r = self.w * self.rng.uniform(0.006, 0.014)
            colour = [(235, 80, 120), (250, 210, 60), (240, 240, 245), (150, 90, 200)]
            self.draw.line((x, y, x, y + 3 * r), fill=(50, 110, 40), width=4)
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour[self.rng.integers(4)])

    def pans(self) -> None:
        w, h = self.w, self.horizon
        self.draw.rectangle((0.1 * w, 0.47 * h, 0.75 * w, 0.49 * h), fill=(90, 85, 80))
        for n in range(6):
            x, r = w * (0.13 + 0.11 * n), w * self.rng.uniform(0.025, 0.042)
            shade = int(self.rng.uniform(50, 150))
            self.draw.rectangle((x - 5, 0.49 * h, x + 5, 0.66 * h), fill=(40, 38, 36))
            top = 0.64 * h
            self.draw.ellipse(
                (x - r, top, x + r, top + 2 * r), fill=(shade, shade - 15, shade - 25)
            )
            self.draw.ellipse(
                (x - 0.6 * r, top + 0.3 * r, x + 0.3 * r, top + 1.2 * r),
                fill=(shade + 50, shade + 40, shade + 30),
            )

    def boxes(self) -> None:
        for _ in range(6):
            x, size = self.rng.uniform(0, 0.92) * self.w, self.rng.uniform(0.06, 0.13) * self.w
            y = self.horizon * self.rng.uniform(0.98, 1.12) - 0.8 * size
            r, g, b = self._colour(70, 230)
            self.draw.rectangle((x, y, x + size, y + 0.8 * size), fill=(r, g, b))
            side = (int(0.6 * r), int(0.6 * g), int(0.6 * b))
            over = 0.3 * size
            low = y + 0.8 * size
            right = x + size
            back, lift = right + over, over / 2
            flank = [(right, y), (back, y - lift), (back, low - lift), (right, low)]
            self.draw.polygon(flank, fill=side)
            top = [(x, y), (x + over, y - over / 2), (x + size + over, y - over / 2), (x + size, y)]
            lit = (min(255, int(1.2 * r)), min(255, int(1.2 * g)), min(255, int(1.2 * b)))
            self.draw.polygon(top, fill=lit)

    def balls(self) -> None:
        for _ in range(5):
            x, r = self.rng.uniform(0, self.w), self.rng.uniform(0.02, 0.05) * self.w
            y = self.horizon + self.rng.uniform(0.1, 0.7) * (self.h - self.horizon)
            colour = self._colour(90, 240)
            shadow = (0.5 * colour[0], 0.5 * colour[1], 0.5 * colour[2])
            for n in range(10):
                t = n / 10
                fill = tuple(int(s + (c - s) * t) for s, c in zip(shadow, colour, strict=True))
                q = r * (1 - 0.8 * t)
                dx, dy = -0.35 * r * t, -0.4 * r * t
                self.draw.ellipse((x + dx - q, y + dy - q, x + dx + q, y + dy + q), fill=fill)

    def jars(self) -> None:
        for _ in range(8):
            x, width = self.rng.uniform(0, 0.95) * self.w, self.rng.uniform(0.025, 0.05) * self.w
            tall = self.rng.uniform(1.2, 2.2) * width
            y = self.horizon * self.rng.uniform(1.02, 1.1)
            self._round(x, y - tall, width, tall, self._colour(60, 225))
            self._round(x + 0.1 * width, y - 1.18 * tall, 0.8 * width, 0.18 * tall, self._colour())

    def lamp(self) -> None:
        x, y = self.rng.uniform(0.1, 0.9) * self.w, 0.52 * self.horizon
        size = 0.075 * self.w
        self.draw.rectangle((x - 6, y, x + 6, self.horizon * 1.04), fill=(70, 60, 50))
        shade = [(x - 0.6 * size, y - size), (x + 0.6 * size, y - size), (x + size, y + 0.3 * size),
                 (x - size, y + 0.3 * size)]  # fmt: skip
        self.draw.polygon(shade, fill=(255, 232, 170))

    def plant(self) -> None:
        x, y, size = self.rng.uniform(0.08, 0.92) * self.w, 1.05 * self.horizon, 0.07 * self.w
        for _ in range(46):
            angle, reach = self.rng.uniform(0.15, 2.99), self.rng.uniform(0.8, 2.0) * size
            tip_x, tip_y = x + reach * np.cos(angle), y - size - reach * np.sin(angle)
            g = int(self.rng.uniform(80, 165))
            half = 0.12 * size
            mid_x, mid_y = (x + tip_x) / 2, (y - size + tip_y) / 2
            leaf = [(x, y - size), (mid_x - half, mid_y - half), (tip_x, tip_y)]
            leaf.append((mid_x + half, mid_y + half))
            self.draw.polygon(leaf, fill=(int(0.45 * g), g, int(0.4 * g)))
        self._round(x - 0.5 * size, y - size, size, size, (178, 92, 58))
