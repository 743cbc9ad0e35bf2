"""One prediction on one page: what was seen and said, and the moments and trainings behind it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from upath import UPath

from aela.evaluation import page, pictures
from aela.learning.checkpoints import Checkpoint
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import Entry
from aela.mimicry.trace import Trace
from aela.storage import Home, write_bytes

FRAME_WIDTH = 480  # pixels of the frame it saw
MOMENT_WIDTH = 240  # pixels of remembered frames
NEAR_S = 3.0  # a word heard so close to a remembered frame is shown with it
MOST_VIDEOS = 200  # rows about memory
MOST_PARENTS = 12  # of one checkpoint, the newest
SHORT = 12  # digits of a hash where it is not the point


@dataclass(frozen=True)
class Shown:
    """A moment as it is still remembered, or `gone`: why nothing of it can be shown.

    `sound` are mono samples [n] at 44.1 kHz; `heard_s` is when it starts.
    """

    video: str
    time_s: float
    jpeg: bytes | None = None
    sound: np.ndarray | None = None
    heard_s: float | None = None
    gone: str = ""


def write_page(home: Home, trace: Trace, path: UPath) -> None:
    """Write the page; readers see the whole new file or nothing of it."""
    write_bytes(path, render(home, trace).encode())


def render(home: Home, trace: Trace) -> str:
    """The page as HTML, with all pictures and sounds in it."""
    row = trace.row
    sections = [
        ("What it saw and said", _answer(home, trace)),
        ("The moments it leans on", _moments(home, trace)),
        ("The trainings that saw them", _trainings(trace)),
        ("Where its checkpoints come from", _descent(trace)),
        ("All that it learned from", _memory(home, trace)),
    ]
    bodies = "".join(
        f'<section id="s{i}"><h2>{title}</h2>{body}</section>'
        for i, (title, body) in enumerate(sections)
    )
    links = " ".join(f'<a href="#s{i}">{title}</a>' for i, (title, _) in enumerate(sections))
    return PAGE.format(
        style=page.STYLE + STYLE,
        script=page.SCRIPT,
        title=page.text(f"{trace.video} at {row['time_s']:.1f} s"),
        generation=page.text(trace.generation.sha),
        created=page.text(_when(trace.generation.created)),
        links=links,
        bodies=bodies,
    )


def _answer(home: Home, trace: Trace) -> str:
    row, generation = trace.row, trace.generation
    own = _sound(home, row["sound"])
    clip = _remembered_clip(home, trace)
    sounds = {"what it said": own, "the word it remembered": clip.sound}
    there = {name: sound for name, sound in sounds.items() if sound is not None and len(sound)}
    heard = ""
    if there:
        drawn = {"spectrograms": pictures.spectrograms([*there.values()], [*there])}
        heard = page.figures(drawn, captions=False)
    if row["said"]:
        place = f"{row['clip_video']} at {row['clip_start_s']:.1f} s"
        state = f'<b class="said">It spoke:</b> the word of {page.text(place)}.'
    else:
        state = '<b class="silent">It stayed silent</b>, since this was too new to it.'
    buttons = "".join(page.play(sound, name) for name, sound in sounds.items())
    picture = page.picture(_own_frame(home, trace), "the frame it saw", FRAME_WIDTH)
    return (
        f'<div class="look">{picture or "<p>The frame is not remembered any more.</p>"}<div>'
        f'<p>{state}</p><div class="row">{buttons}</div>{heard}'
        f"{_scale('sure', row['confidence'])}"
        f"{_scale('new', row['novelty'], generation.threshold)}"
        "<p><small>Sure: how like the predicted word is to the remembered one. New: how unlike "
        "the frame is to remembered things; beyond the mark it says nothing.</small></p>"
        "</div></div>"
    )


def _scale(name: str, value: float, mark: float | None = None) -> str:
    """A bar from 0 to 1, with a mark at the threshold if there is one."""
    told = f"{name} {value:.2f}" + ("" if mark is None else f", silent above {mark:.2f}")
    tick = "" if mark is None else f'<i style="left:{100 * min(max(mark, 0), 1):.1f}%"></i>'
    return (
        f'<div class="scale"><span>{page.text(told)}</span>'
        f'<div role="img" aria-label="{page.text(told)}, of 1">'
        f'<b style="width:{100 * min(max(value, 0), 1):.1f}%"></b>{tick}</div></div>'
    )


def _moments(home: Home, trace: Trace) -> str:
    row = trace.row
    clip = _remembered_clip(home, trace)
    heard = _card(
        trace,
        clip,
        "Nearest word",
        f"heard {row['clip_start_s']:.1f}–{row['clip_end_s']:.1f} s",
        row["confidence"],
    )
    seen = [
        _card(
            trace,
            _remembered_frame(home, trace, frame["video"], frame["time_s"]),
            f"Nearest frame {number}",
            f"seen at {frame['time_s']:.1f} s",
            frame["similarity"],
        )
        for number, frame in enumerate(row["frames"], start=1)
    ]
    return (
        page.how(
            "The remembered word that is nearest to the predicted one, with what was in view then, "
            "and the remembered frames that look most like what it saw, with the word heard there."
        )
        + f'<ul class="cards moments">{heard}{"".join(seen)}</ul>'
    )


def _card(trace: Trace, moment: Shown, title: str, when: str, similarity: float) -> str:
    shown = page.picture(moment.jpeg, f"{moment.video} at {moment.time_s:.1f} s", MOMENT_WIDTH)
    name = "heard" if moment.heard_s is None else f"heard at {moment.heard_s:.1f} s"
    saw = trace.origins.saw(moment.video)
    first = f"first learned from {_when(saw[0].card.created)}, " if saw else ""
    runs = f"{first}{len(saw)} training{'' if len(saw) == 1 else 's'} saw it"
    return (
        f"<li><h3>{page.text(title)}</h3>{shown}"
        f"{f'<p>{page.text(moment.gone)}</p>' if moment.gone else ''}"
        f"{page.play(moment.sound, name)}"
        f"<p><b>{page.text(moment.video)}</b><br>{page.text(when)}</p>"
        f"{_scale('alike', similarity)}<small>{page.text(runs)}</small></li>"
    )


def _trainings(trace: Trace) -> str:
    row = trace.row
    leaning = dict.fromkeys([row["clip_video"], *(frame["video"] for frame in row["frames"])])
    saw = {video: {one.sha for one in trace.origins.saw(video)} for video in leaning}
    speaking = {one.sha for one in trace.checkpoints.values()}
    rows = []
    for one in sorted(trace.origins.checkpoints.values(), key=lambda one: one.card.created):
        card, memory = one.card, trace.origins.manifests.get(one.card.manifest)
        seen = [video for video in leaning if one.sha in saw[video]]
        size = f"{len(memory.entries)} / {memory.frames} / {memory.clips}" if memory else "gone"
        rows.append(
            [
                _when(card.created),
                f"{_name(one)}{'' if one.sha in speaking else ' (earlier)'}",
                _number(card.seed),
                _number(card.metrics.get("steps")),
                _number(card.metrics.get("seconds"), " s"),
                card.manifest[:SHORT],
                size,
                "all" if len(seen) == len(leaning) else ", ".join(seen) or "none",
            ]
        )
    header = ["trained", "model", "seed", "steps", "took", "manifest"]
    header += ["videos / frames / clips", "of the videos above, it saw"]
    what = "Every training that had a part in this answer, oldest first; times are UTC."
    return page.how(what) + page.table(header, rows)


def _descent(trace: Trace) -> str:
    """For each model a line of boxes, from its first parent to the checkpoint that spoke."""
    before = [f"{one.sha[:SHORT]}<br>{_when(one.created)}" for one in reversed(trace.before)]
    now = f"{trace.generation.sha[:SHORT]}<br>{_when(trace.generation.created)}"
    lines = [_line("generation", [*before, now])]
    for model, checkpoint in trace.checkpoints.items():
        line = reversed(trace.origins.line(checkpoint))
        lines.append(_line(model.replace("_", " "), [_box(one) for one in line]))
    gone = ""
    if trace.origins.missing:
        named = ", ".join(trace.origins.missing)
        gone = f"<p>No longer there: {page.text(named)}.</p>"
    return (
        page.how(
            "Of generations, each spoke after the one before it, and the last gave this answer. Of "
            "models, each box is trained from the one before it, and the last belongs to that "
            "generation."
        )
        + "".join(lines)
        + gone
        + page.how("`aela reproduce` with one of these hashes trains it again and compares.")
    )


def _line(title: str, boxes: list[str]) -> str:
    left_out = len(boxes) - MOST_PARENTS
    shown = [f"{left_out} earlier", *boxes[left_out:]] if left_out > 0 else boxes
    items = "".join(f"<li>{box}</li>" for box in shown)
    return f'<h3>{page.text(title)}</h3><ol class="chain">{items}</ol>'


def _box(one: Checkpoint) -> str:
    card = one.card
    inputs = "".join(
        f"<br>on {page.text(name.replace('_', ' '))} {sha[:SHORT]}"
        for name, sha in card.inputs.items()
    )
    return (
        f"<code>{one.sha[:SHORT]}</code><br>{_when(card.created)}"
        f"<br>seed {card.seed}, {_number(card.metrics.get('steps'))} steps"
        f"<br>memory {card.manifest[:SHORT]}{inputs}"
    )


def _memory(home: Home, trace: Trace) -> str:
    now = set(trace.manifest.entries)
    entries = trace.origins.entries
    rows = [
        [
            entry.video,
            str(entry.frames),
            str(entry.clips),
            manifests.state(home, entry),
            "yes" if entry in now else "by parents alone",
            entry.content[:SHORT],
        ]
        for entry in entries[:MOST_VIDEOS]
    ]
    more = len(entries) - len(rows)
    header = ["video", "frames", "clips", "is", "in its memory", "content"]
    hashes = [["generation", trace.generation.sha], ["manifest", trace.manifest.sha]]
    hashes += [[model, one.sha] for model, one in trace.checkpoints.items()]
    return (
        f"<p>{len(entries)} videos, {sum(e.frames for e in entries)} frames, "
        f"{sum(e.clips for e in entries)} clips.</p>"
        + page.table(header, rows)
        + (f"<p>{more:,} more videos are not shown.</p>" if more else "")
        + f"<details><summary>All hashes</summary>{page.table(['', 'SHA-256'], hashes)}</details>"
    )


def _own_frame(home: Home, trace: Trace) -> bytes | None:
    if store.content(home, trace.video) is None:
        return None
    row = _frame_row(home, trace.video, trace.row["time_s"])
    return None if row is None else store.read_row(home, trace.video, "frame", row)["jpeg"]


def _sound(home: Home, name: str | None) -> np.ndarray | None:
    path = home.root / name if name else None
    return store.from_flac(path.read_bytes()) if path and path.exists() else None


def _remembered_clip(home: Home, trace: Trace) -> Shown:
    row = trace.row
    return _moment(home, trace, row["clip_video"], row["clip_start_s"], of="clip")


def _remembered_frame(home: Home, trace: Trace, video: str, time_s: float) -> Shown:
    return _moment(home, trace, video, time_s, of="frame")


def _moment(home: Home, trace: Trace, video: str, time_s: float, of: str) -> Shown:
    """What was seen and heard in a remembered video around a frame or a clip."""
    gone = _gone(home, trace, video)
    if gone:
        return Shown(video, time_s, gone=gone)
    jpeg = None
    if store.count(home, video, "frame"):
        jpeg = store.nearest(home, video, "frame", time_s)["jpeg"]
    clip = (_clip_with if of == "frame" else _clip_at)(home, video, time_s)
    if clip is None:
        return Shown(video, time_s, jpeg)
    return Shown(video, time_s, jpeg, store.from_flac(clip["flac"]), clip["start_s"])


def _clip_at(home: Home, video: str, time_s: float) -> dict[str, Any] | None:
    """The clip that begins nearest to a time."""
    return store.nearest(home, video, "clip", time_s) if store.count(home, video, "clip") else None


def _clip_with(home: Home, video: str, time_s: float) -> dict[str, Any] | None:
    """The clip that was heard with what was seen at a time."""
    clips = store.read_clips(home, video, ["start_s", "end_s"]).to_pandas()
    apart = np.maximum(clips["start_s"] - time_s, time_s - clips["end_s"]).to_numpy()
    near = len(apart) and apart.min() <= NEAR_S
    return store.read_row(home, video, "clip", int(apart.argmin())) if near else None


def _gone(home: Home, trace: Trace, video: str) -> str:
    """Why a moment that the generation remembers cannot be shown, or nothing."""
    entry = _entry(trace, video)
    found = manifests.state(home, entry) if entry else "not in its manifest"
    if found == "forgotten":
        return f"Forgotten on {_when(trace.forgotten[video])}."
    return "" if found == "remembered" else f"It was {found} since."


def _entry(trace: Trace, video: str) -> Entry | None:
    return next((entry for entry in trace.manifest.entries if entry.video == video), None)


def _frame_row(home: Home, video: str, time_s: float) -> int | None:
    times = store.read_frames(home, video, ["time_s"])["time_s"].to_numpy()
    [rows] = np.nonzero(np.isclose(times, time_s))
    return int(rows[0]) if len(rows) else None


def _name(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.card.model.replace('_', ' ')} {checkpoint.sha[:SHORT]}"


def _number(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.0f}{unit}"


def _when(created: str) -> str:
    return created[:16].replace("T", " ")


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>AELA: {title}</title><style>{style}</style></head><body>
<header><h1>Why it said this</h1><p>{title}</p>
<p><small>generation {generation}, published {created}</small></p><nav>{links}</nav></header>
<main>{bodies}</main><script>{script}</script></body></html>
"""

STYLE = """
section h3 { margin: .2rem 0 .4rem; font-size: 1rem; }
.look { display: grid; gap: 1.2rem; grid-template-columns: minmax(0, 30rem) minmax(0, 1fr); }
.look > img { width: 100%; } .look p { margin: .2rem 0; }
.moments { max-height: none; } .moments img { width: 100%; margin-bottom: .5rem; }
.moments p { margin: .4rem 0; overflow-wrap: anywhere; }
.scale { margin: .5rem 0; font-size: .9rem; }
.scale div { position: relative; height: .6rem; border: 1px solid var(--line); border-radius: 4px;
  background: var(--paper); }
.scale b { display: block; height: 100%; border-radius: 3px; background: var(--said); }
.scale i { position: absolute; top: -.25rem; bottom: -.25rem; border-left: 2px solid var(--ink); }
.chain { list-style: none; margin: 0 0 1rem; padding: 0; display: flex; flex-wrap: wrap;
  gap: .5rem 0; font-size: .85rem; line-height: 1.35; }
.chain li { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .4rem .6rem; position: relative; margin-right: 1.8rem; }
.chain li + li::before { content: "→"; position: absolute; left: -1.45rem; top: .4rem;
  color: var(--faint); font-size: 1.1rem; }
.chain li:last-child { border-color: var(--said); border-width: 2px; }
td { font-variant-numeric: tabular-nums; }
table { font-size: .9rem; } td:last-child { overflow-wrap: anywhere; }
@media (max-width: 44rem) { .look { grid-template-columns: minmax(0, 1fr); } }
"""
