"""What pages are made of: one HTML file each, without any network, in light and in dark."""

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
import soundfile
from PIL import Image
from scipy.signal import resample_poly

from aela.capture import SAMPLE_RATE_HZ

MP3_RATE_DIVISOR = 2  # sounds are kept at 22,050 Hz
MP3_COMPRESSION = 0.7  # 0 to 1: about 5 kB a second
THUMBNAIL_WIDTH = 128  # pixels
THUMBNAIL_QUALITY = 72
LONGEST_SOUND_S = 3.0


def text(plain: str) -> str:
    """Text as it is written in HTML."""
    return html.escape(plain)


def how(sentences: str) -> str:
    """How to read what follows."""
    return f'<p class="how">{text(sentences)}</p>'


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table of plain texts."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{whole}</div>'


def figures(pngs: dict[str, bytes], *, captions: bool = True) -> str:
    """Pictures by title; with `captions=False` the title stands in the picture already."""
    shown = "".join(
        f'<figure><img src="{data_uri(png, "image/png")}" alt="{text(title)}" loading="lazy">'
        + (f"<figcaption>{text(title)}</figcaption>" if captions else "")
        + "</figure>"
        for title, png in pngs.items()
    )
    return f'<div class="figures">{shown}</div>'


def picture(jpeg: bytes | None, description: str, width: int = THUMBNAIL_WIDTH) -> str:
    """A JPEG, made small: at most `width` pixels wide; nothing where there is none."""
    if jpeg is None:
        return ""
    with Image.open(io.BytesIO(jpeg)) as opened:
        opened.draft("RGB", (width, width))
        small = opened.convert("RGB")
    small.thumbnail((width, 2 * width))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    source = data_uri(buffer.getvalue(), "image/jpeg")
    return f'<img src="{source}" alt="{text(description)}" loading="lazy">'


def figure(drawing: str, caption: str) -> str:
    """A drawing, as HTML, with what it is below it."""
    return f"<figure>{drawing}<figcaption>{text(caption)}</figcaption></figure>"


def play(samples: np.ndarray | None, name: str) -> str:
    """A button that plays the first seconds of mono samples [n] at 44.1 kHz, if there are any."""
    if samples is None or len(samples) == 0:
        return ""
    return f'<button data-sound="{sound(samples)}">▶ {text(name)}</button>'


def sound(samples: np.ndarray) -> str:
    """The first seconds of mono samples [n] at 44.1 kHz as an address that holds them itself."""
    shown = samples[: int(LONGEST_SOUND_S * SAMPLE_RATE_HZ)]
    slower = resample_poly(shown.astype(np.float32), 1, MP3_RATE_DIVISOR)
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        slower.clip(-1, 1),
        SAMPLE_RATE_HZ // MP3_RATE_DIVISOR,
        format="MP3",
        compression_level=MP3_COMPRESSION,
        bitrate_mode="VARIABLE",
    )
    return data_uri(buffer.getvalue(), "audio/mpeg")


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as an address that holds them itself."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf8; --ink: #1d1d1f; --faint: #6b6b70;
  --line: #dedbd5; --card: #fff; --said: #1d7f45; --silent: #8a8a90; --link: #14589c; }
@media (prefers-color-scheme: dark) { :root { --paper: #17171a; --ink: #ececef; --faint: #a0a0a8;
  --line: #34343a; --card: #202025; --said: #63cf8f; --silent: #7c7c84; --link: #8cbcf0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 16px/1.45 system-ui, sans-serif; }
h1 { margin: .5rem 0 0; } h4 { margin: 1rem 0 .3rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
a { color: var(--link); } nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; }
small { color: var(--faint); overflow-wrap: anywhere; } .how { color: var(--faint); }
.facts { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; }
.facts b { font-size: 1.3rem; }
.said { color: var(--said); fill: var(--said); } .silent { color: var(--silent);
  fill: var(--silent); }
details { margin: .8rem 0; } summary { cursor: pointer; font-weight: 600; padding: .3rem 0;
  overflow-wrap: anywhere; }
.strip { display: block; width: 100%; height: 40px; margin: .4rem 0;
  border-bottom: 1px solid var(--line); }
.glances { list-style: none; margin: 0; padding: 0; max-height: 34rem; overflow-y: auto;
  display: grid; gap: 0 1.6rem; grid-template-columns: repeat(auto-fill, minmax(25rem, 1fr)); }
.glances li { display: grid; gap: .6rem; grid-template-columns: 3.4rem 5rem minmax(0, 1fr) 5rem;
  align-items: center; padding: .4rem 0; border-bottom: 1px solid var(--line); }
.glances img { width: 100%; } time { text-align: right; font-variant-numeric: tabular-nums; }
meter { width: 3.5rem; }
img { max-width: 100%; border-radius: 4px; vertical-align: middle; }
.cards { list-style: none; padding: 0; display: grid; gap: .8rem; max-height: 44rem;
  overflow-y: auto;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.cards li { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .6rem; }
.minds { list-style: none; padding: 0; display: grid; gap: .8rem;
  grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
.minds li { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .6rem; display: grid; gap: .4rem; justify-items: start; align-content: start; }
.minds .drawn { width: 100%; } .drawn { aspect-ratio: 1; }
.like { display: grid; grid-template-columns: 4rem 1fr; gap: .5rem; align-items: center; }
.like small { line-height: 1.25; }
.row { display: flex; gap: .4rem; margin: .3rem 0; align-items: center; }
.row img { flex: 1 1 0; min-width: 0;
  max-width: 33.3%; object-fit: cover; }
button { font: inherit; font-size: .85rem; border: 1px solid var(--line); border-radius: 1rem;
  background: var(--card); color: var(--link); padding: .15rem .7rem; cursor: pointer; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; }
th, td { text-align: left; padding: .25rem .7rem; border-bottom: 1px solid var(--line); }
.figures { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; max-width: 35rem; }
figcaption { color: var(--faint); font-size: .9rem; }
@media (max-width: 34rem) { body { padding: .7rem; }
  .glances li { grid-template-columns: 4.6rem minmax(0, 1fr) 4.6rem; gap: .3rem .5rem; }
  .glances { grid-template-columns: minmax(0, 1fr); }
  .minds { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .like { grid-template-columns: 1fr; }
  .glances time { grid-column: 1 / -1; text-align: left; } }
"""

SCRIPT = """
let playing = null;
document.addEventListener("click", event => {
  const button = event.target.closest("[data-sound]");
  if (!button) return;
  if (playing) playing.pause();
  playing = new Audio(button.dataset.sound);
  playing.play();
});
"""
