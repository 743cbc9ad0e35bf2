"""Small pictures of what was learned, as PNG bytes below MOST_BYTES: for metadata and reports."""

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aela.capture import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BYTES = 60_000
DOTS_PER_INCH = 100
COLOURS = (128, 64, 32)  # tried in this order until a picture is small enough
SHRINK = 0.85
LOGARITHMIC_FROM = 50  # greatest over least loss
SHEET_WIDTH = 640  # pixels
CAPTION_HEIGHT = 14  # pixels
LARGE_JPEG_QUALITY = 90
TILE = (90, 160)  # pixels: least and most width of a picture on a contact sheet
INK = "#85858c"  # of text and lines: readable on white and on black, as figures are transparent


def distance_matrix(distances: np.ndarray, train: int, title: str = "distances") -> bytes:
    """Distances [n, n] between items of which the first `train` were trained on.

    Lines part training and test items; the upper left quadrant holds what was trained on.

    Raises:
        ValueError: the matrix is not square or empty, or `train` is beyond its size.
    """
    n = len(distances)
    if n == 0 or distances.shape != (n, n) or not 0 <= train <= n:
        raise ValueError(
            f"A distance matrix is square, with 0 to n training rows, not {distances.shape} "
            f"with {train}."
        )
    figure, axes = _figure(4.6, 4.2)
    image = axes.imshow(distances, cmap="viridis", interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.8, label="distance")
    parts = [(0, train, "train"), (train, n, "test")]
    if 0 < train < n:
        axes.axhline(train - 0.5, color="white", linewidth=1.5)
        axes.axvline(train - 0.5, color="white", linewidth=1.5)
    middles = [((start + end - 1) / 2, f"{name} ({end - start})") for start, end, name in parts]
    shown = [m for m, (start, end, _) in zip(middles, parts, strict=True) if end > start]
    axes.set_xticks([at for at, _ in shown], [name for _, name in shown])
    axes.set_yticks([at for at, _ in shown], [name for _, name in shown], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set_title(title)
    return _png(figure)


def loss_curves(curve: list[dict[str, float]], title: str = "losses") -> bytes:
    """The losses of one training, as on a checkpoint's card: `[{"step": ..., name: loss, ...}]`.

    Each has a panel of its own.

    Raises:
        ValueError: no point has a step and a loss.
    """
    names = sorted({name for point in curve for name in point} - {"step"})
    if not names or any("step" not in point for point in curve):
        raise ValueError('A curve needs points with a "step" and at least one loss.')
    columns = min(2, len(names))
    rows = -(-len(names) // columns)
    figure, axes = _figures(2.6 * columns, 1.6 * rows + 0.4, rows, columns)
    for number, cell in enumerate(axes.flat):
        if number >= len(names):
            cell.set_axis_off()
            continue
        points = [(p["step"], p[names[number]]) for p in curve if names[number] in p]
        steps, values = np.array(points, dtype=float).T
        cell.plot(steps, values, color=f"C{number}", linewidth=1.8)
        if values.min() > 0 and values.max() / values.min() > LOGARITHMIC_FROM:
            cell.set_yscale("log")
        cell.set_title(names[number], fontsize=9)
        cell.grid(alpha=0.3)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("step", fontsize=9)
    return _png(figure)


def spectrograms(sounds: list[np.ndarray], captions: list[str]) -> bytes:
    """Mel spectrograms of sounds, mono samples [n] each, side by side on one time scale.

    Raises:
        ValueError: there are no sounds, or not one caption for each.
    """
    import librosa

    if not sounds or len(sounds) != len(captions):
        raise ValueError(f"There are {len(sounds)} sounds and {len(captions)} captions.")
    columns = min(4, len(sounds))
    rows = -(-len(sounds) // columns)
    figure, axes = _figures(1.7 * columns, 1.3 * rows + 0.3, rows, columns)
    longest = max(len(sound) for sound in sounds) / SAMPLE_RATE_HZ
    for i, cell in enumerate(axes.flat):
        cell.set_axis_off()
        if i >= len(sounds):
            continue
        padded = np.pad(sounds[i].astype(np.float32), (0, max(0, 2048 - len(sounds[i]))))
        power = librosa.feature.melspectrogram(
            y=padded, sr=SAMPLE_RATE_HZ, n_fft=1024, hop_length=441, n_mels=64, fmax=8000
        )
        decibels = librosa.power_to_db(power, ref=np.max, top_db=60)
        seconds = len(padded) / SAMPLE_RATE_HZ
        cell.imshow(
            decibels, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, 64)
        )
        cell.set_xlim(0, longest)
        cell.set_title(captions[i], fontsize=8, pad=2)
    figure.supxlabel(f"0 to {longest:.1f} s; 0 to 8 kHz, mel", fontsize=8)
    return _png(figure)


def contact_sheet(jpegs: list[bytes], captions: list[str] | None = None) -> bytes:
    """Pictures in rows, with a caption below each.

    Raises:
        ValueError: there are no pictures, or not one caption for each.
    """
    return _small(_sheet(jpegs, captions, 1))


def large_contact_sheet(jpegs: list[bytes], captions: list[str] | None = None) -> bytes:
    """The same twice as large and in all colours, as JPEG: a file to look at.

    Raises:
        ValueError: there are no pictures, or not one caption for each.
    """
    buffer = io.BytesIO()
    _sheet(jpegs, captions, 2).save(buffer, "JPEG", quality=LARGE_JPEG_QUALITY)
    return buffer.getvalue()


def _sheet(jpegs: list[bytes], captions: list[str] | None, scale: int) -> Image.Image:
    if not jpegs or (captions is not None and len(captions) != len(jpegs)):
        raise ValueError(f"There are {len(jpegs)} pictures and {len(captions or [])} captions.")
    font = ImageFont.load_default(10 * scale)
    longest = max((font.getlength(caption) for caption in captions or []), default=0)
    width = round(min(max(longest + 6, TILE[0] * scale), TILE[1] * scale))
    columns = min(len(jpegs), SHEET_WIDTH * scale // width)
    tiles = [_thumbnail(jpeg, width - 4) for jpeg in jpegs]
    tall = max(tile.height for tile in tiles)
    step = tall + 4 + (CAPTION_HEIGHT * scale if captions else 0)
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * step), "white")
    draw = ImageDraw.Draw(sheet)
    for i, tile in enumerate(tiles):
        x, y = i % columns * width, i // columns * step
        sheet.paste(tile, (x + (width - tile.width) // 2, y + (tall - tile.height) // 2))
        if captions:
            draw.text((x + 2, y + tall), _fitting(captions[i], font, width - 4), "black", font)
    return sheet


def png(picture: np.ndarray) -> bytes:
    """A picture, uint8 [height, width, 3], as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def evenly(count: int, most: int) -> list[int]:
    """Row numbers: all of `count`, or `most` of them spread evenly from first to last."""
    if count <= most:
        return list(range(count))
    return np.linspace(0, count - 1, most).round().astype(int).tolist()


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _thumbnail(jpeg: bytes, width: int) -> Image.Image:
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.draft("RGB", (width, width))  # JPEG decodes at a fraction of its size
        small = picture.convert("RGB")
    height = min(round(small.height * width / small.width), 2 * width)
    return small.resize((width, max(1, height)), Image.Resampling.LANCZOS)


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    figure, axes = _figures(width, height, 1, 1)
    return figure, axes[0, 0]


def _figures(width: float, height: float, rows: int, columns: int) -> "tuple[Figure, np.ndarray]":
    """A figure (inches) that belongs to no window, and its axes [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _png(figure: "Figure") -> bytes:
    """The figure without a ground and in INK, for light and dark pages."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_color() == "black":
            text.set_color(INK)
    for axes in figure.axes:
        axes.tick_params(color=INK, labelcolor=INK)
        axes.patch.set_alpha(0)
        for spine in axes.spines.values():
            spine.set_color(INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True)
    return _small(Image.open(buffer))


def _small(picture: Image.Image) -> bytes:
    """PNG with a palette, with fewer colours and then fewer pixels until it is small enough."""
    method = Image.Quantize.FASTOCTREE if picture.mode == "RGBA" else Image.Quantize.MEDIANCUT
    while True:
        for colours in COLOURS:
            buffer = io.BytesIO()
            flat = picture.quantize(colours, method, dither=Image.Dither.NONE)
            flat.save(buffer, "PNG", optimize=True)
            if buffer.tell() <= MOST_BYTES:
                return buffer.getvalue()
        size = (max(1, int(picture.width * SHRINK)), max(1, int(picture.height * SHRINK)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
