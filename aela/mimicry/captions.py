"""The band below the pictures of a spoken video: what was answered, how surely, and from where."""

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aela.memory import store
from aela.memory.videos import without_hash
from aela.mimicry.certainty import Certainty, certainty
from aela.storage import Home

SHOWN_S = 3.0  # how long a caption stays when no other frame is looked at

INK, FAINT, PAPER = (235, 235, 235), (140, 140, 140), (24, 24, 28)
SAID, UNSURE, SILENT = (90, 200, 120), (230, 190, 80), (150, 150, 160)
LOOKS: dict[Certainty, tuple[str, str, tuple[int, int, int]]] = {
    "said": ("says", "the word heard in", SAID),
    "unsure": ("says, unsure", "the word heard in", UNSURE),
    "silent": ("silent, too new", "the nearest word is from", SILENT),
}
"""Of each answer: what it is, what the remembered moment is to it, and its colour."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Captions:
    """Captions in the order of time; each is drawn once.

    Args:
        rows: a prediction table; threshold: of the generation that made it.
    """

    def __init__(self, rows: list[dict[str, Any]], threshold: float, home: Home) -> None:
        self.rows = rows
        self.threshold = threshold
        self.home = home
        self.times = np.array([row["time_s"] for row in rows])
        self.size: tuple[int, int] = (0, 0)  # set once the size of the pictures is known
        self.drawn: tuple[int, np.ndarray] | None = None

    def at(self, time_s: float) -> np.ndarray:
        """uint8 RGB [height, width, 3] of what was predicted last before a time."""
        row = int(np.searchsorted(self.times, time_s, side="right")) - 1
        if row >= 0 and time_s - self.times[row] > SHOWN_S:
            row = -1
        if self.drawn is None or self.drawn[0] != row:
            picture = Image.new("RGB", self.size, PAPER)
            self._draw(picture, self.rows[row] if row >= 0 else None)
            self.drawn = (row, np.asarray(picture))
        return self.drawn[1]

    def _draw(self, picture: Image.Image, row: dict[str, Any] | None) -> None:
        width, height = self.size
        margin = height // 12
        line = (height - 2 * margin) / 3
        font = ImageFont.load_default(line * 0.72)
        draw = ImageDraw.Draw(picture)
        if row is None:
            draw.text((margin, margin), "no sharp picture", FAINT, font)
            return
        x = margin
        if row["frames"]:
            thumbnail = self._thumbnail(row["frames"][0], height - 2 * margin)
            picture.paste(thumbnail, (margin, margin))
            x += thumbnail.width + 2 * margin
        answer = certainty(row["confidence"], row["novelty"], self.threshold)
        what, moment, colour = LOOKS[answer]
        draw.text((x, margin), what, colour, font)
        place = _fitting(without_hash(row["clip_video"]), moment, row, font, width - margin - x)
        draw.text((x, margin + line), place, FAINT if answer == "silent" else INK, font)
        half = (width - margin - x) / 2
        top = margin + 2 * line
        bar = _Bars(draw, font, height)
        bar.draw((x, top, half - margin), "sure", row["confidence"], colour)
        bar.draw((x + half, top, half), "new", row["novelty"], colour, self.threshold)

    def _thumbnail(self, remembered: dict[str, Any], height: int) -> Image.Image:
        frame = store.nearest(self.home, remembered["video"], "frame", remembered["time_s"])
        with Image.open(io.BytesIO(frame["jpeg"])) as picture:
            width = min(round(picture.width * height / picture.height), 2 * height)
            return picture.convert("RGB").resize((max(1, width), height))


class _Bars:
    """Draws values from 0 to 1 in a band so many pixels high."""

    def __init__(self, draw: ImageDraw.ImageDraw, font: Font, height: int) -> None:
        self.pen, self.font, self.height = draw, font, height

    def draw(
        self,
        place: tuple[float, float, float],
        name: str,
        value: float,
        colour: tuple[int, int, int],
        mark: float | None = None,
    ) -> None:
        """A bar at a place (x, y, width), with a mark across it at the threshold, if there is one.

        The part up to `value` is filled.
        """
        x, y, width = place
        self.pen.text((x, y), f"{name} {value:.2f}", FAINT, self.font)
        start = x + self.font.getlength("sure 0.00  ")
        thick = self.height / 12
        middle = y + self.height / 7
        length = x + width - start
        top, bottom = middle - thick / 2, middle + thick / 2
        self.pen.rectangle((start, top, start + length, bottom), outline=FAINT)
        filled = min(max(value, 0.0), 1.0) * length
        self.pen.rectangle((start, top, start + filled, bottom), fill=colour)
        if mark is not None:
            at = start + min(max(mark, 0.0), 1.0) * length
            ends = (at, top - thick, at, bottom + thick)
            self.pen.line(ends, INK, max(2, round(thick / 4)))


def _fitting(name: str, moment: str, row: dict[str, Any], font: Font, width: float) -> str:
    """Which remembered moment it is, its video's name cut short where there is no room for it."""
    at = f", {row['clip_start_s']:.1f} s"
    while name and font.getlength(f"{moment} {name}{at}") > width:
        name = name[:-1]
    return f"{moment} {name}{at}"
