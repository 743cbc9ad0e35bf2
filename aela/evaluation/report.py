"""The report: one HTML file that shows what was learned and what was said, without any network."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from upath import UPath

from aela.evaluation import page, pictures
from aela.evaluation import score as scores
from aela.evaluation.pictures import evenly
from aela.evaluation.signs import SignAccuracy
from aela.evaluation.window import Heard, Seen, Window
from aela.memory.store import Remembered
from aela.storage import write_bytes

# What a report shows at most, spread evenly over what it was given: about 10 MB.
MOST_WORDS = 48
MOST_PICTURES = 3  # of one word
MOST_GLANCES = 360  # in all videos together
MOST_VIDEOS = 200  # rows about memory


@dataclass(frozen=True)
class LearnedWord:
    """One remembered clip: where it was heard, what was seen with it, what became of it.

    `pictures` are JPEGs; `clip` and `generated` mono samples [n] at 44.1 kHz.
    """

    name: str
    pictures: list[bytes]
    clip: np.ndarray
    generated: np.ndarray | None = None


@dataclass(frozen=True)
class Glance:
    """One row of a prediction table with its pictures (JPEG) and sound.

    `remembered` names the nearest remembered moment; `sound` is None in silence.
    """

    time_s: float
    picture: bytes
    said: bool
    confidence: float
    novelty: float
    remembered: str
    remembered_picture: bytes | None = None
    sound: np.ndarray | None = None


@dataclass(frozen=True)
class WatchedVideo:
    video: str
    glances: list[Glance]


@dataclass(frozen=True)
class Labelled:
    """What labels tell, which the system itself never sees.

    Attributes:
        facts: shares, 0 to 1, by what they are of; None where there was nothing to share.
        chance: what a guess would reach.
        score: what `score` returned. segments: what `segments` returned.
        curve: PNG of precision and recall over the threshold of novelty, if it could be drawn.
    """

    facts: dict[str, float | None]
    chance: float | None
    score: dict[str, Any]
    segments: list[dict[str, Any]]
    curve: bytes | None = None


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows; what is left empty is left out.

    Attributes:
        generation, manifest: hashes. created: when, as ISO text.
        memory: the index entries of all remembered videos. sizes: bytes by what they hold.
        words: what was learned. curves: losses by model, as on the checkpoints' cards.
        sign_accuracy: by part, for instance "train" and "test". labelled: what labels tell.
        distances: PNGs from `pictures`. maps: PNGs by title.
        window: what is pictured when it sees and hears.
        watched: what was said to each watched video.
    """

    generation: str
    manifest: str
    created: str
    memory: list[Remembered] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    words: list[LearnedWord] = field(default_factory=list)
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    sign_accuracy: dict[str, SignAccuracy] = field(default_factory=dict)
    labelled: Labelled | None = None
    distances: list[bytes] = field(default_factory=list)
    maps: dict[str, bytes] = field(default_factory=dict)
    window: Window | None = None
    watched: list[WatchedVideo] = field(default_factory=list)


def write_report(data: ReportData, path: UPath) -> None:
    """Write the report; readers see the whole new file or nothing of it."""
    write_bytes(path, render(data).encode())


def render(data: ReportData) -> str:
    """The report as HTML."""
    sections = [
        ("Was it right?", _labelled(data.labelled)),
        ("What it learned", _words(data.words)),
        ("What it says", _watched(data.watched)),
        ("What it pictures", _window(data.window)),
        ("How it tells things apart", _maps(data.maps) + _distances(data.distances)),
        ("How well it predicts words", _sign_accuracy(data.sign_accuracy)),
        ("How it trained", _curves(data.curves)),
        ("What it remembers", _memory(data.memory, data.sizes)),
    ]
    shown = [(title, body) for title, body in sections if body]
    links = " ".join(f'<a href="#s{i}">{title}</a>' for i, (title, _) in enumerate(shown))
    bodies = "".join(
        f'<section id="s{i}"><h2>{title}</h2>{body}</section>'
        for i, (title, body) in enumerate(shown)
    )
    return PAGE.format(
        style=page.STYLE,
        script=page.SCRIPT,
        summary=_summary(data),
        created=page.text(data.created[:16].replace("T", " ")),
        generation=page.text(data.generation),
        manifest=page.text(data.manifest),
        links=links,
        bodies=bodies,
    )


def _summary(data: ReportData) -> str:
    learned = [entry for entry in data.memory if "learn" in entry.roles]
    glances = [glance for video in data.watched for glance in video.glances]
    facts = [
        (len(learned), "videos learned from"),
        (sum(entry.frames for entry in learned), "remembered frames"),
        (sum(entry.clips for entry in learned), "remembered clips"),
        (len(data.watched), "videos watched"),
        (sum(glance.said for glance in glances), f"answers to {len(glances):,} frames"),
    ]
    return "".join(f"<li><b>{number:,}</b> {page.text(what)}</li>" for number, what in facts)


def _watched(watched: list[WatchedVideo]) -> str:
    if not watched:
        return ""
    total = sum(len(video.glances) for video in watched)
    share = min(1.0, MOST_GLANCES / max(total, 1))
    parts = [
        page.how(
            "Each row is one look at the video: what was in view, whether the system spoke and how "
            "sure it was, and the remembered moment it leaned on. In the strip above the rows, "
            "time runs from left to right; green is speech, higher is surer, grey is silence."
        )
    ]
    for i, video in enumerate(watched):
        rows = evenly(len(video.glances), max(1, int(share * len(video.glances))))
        left_out = len(video.glances) - len(rows)
        more = f"<p>{left_out:,} more frames are not shown.</p>" if left_out else ""
        said = sum(glance.said for glance in video.glances)
        parts.append(
            f"<details{' open' if i == 0 else ''}><summary>{page.text(video.video)}: {said} "
            f"answers to {len(video.glances)} frames</summary>{_strip(video.glances)}"
            f'<ol class="glances">{"".join(_glance(video.glances[row]) for row in rows)}</ol>'
            f"{more}</details>"
        )
    return "".join(parts)


def _strip(glances: list[Glance]) -> str:
    """Said and silent over time, as a drawing that scales with the page."""
    if not glances:
        return ""
    end = max(glance.time_s for glance in glances) + 1
    bars = "".join(
        f'<rect class="{"said" if g.said else "silent"}" x="{g.time_s / end * 1000:.1f}" '
        f'width="{max(1.5, 900 / end):.1f}" y="{40 - height:.1f}" height="{height:.1f}"/>'
        for g in glances
        for height in [40 * min(max(g.confidence, 0.05), 1.0) if g.said else 4]
    )
    return (
        f'<svg class="strip" viewBox="0 0 1000 40" preserveAspectRatio="none" role="img" '
        f'aria-label="Speech over time, 0 to {end:.0f} seconds">{bars}</svg>'
    )


def _glance(glance: Glance) -> str:
    state = '<b class="said">says</b>' if glance.said else '<b class="silent">silent</b>'
    memory = page.picture(glance.remembered_picture, f"remembered: {glance.remembered}")
    return (
        f"<li><time>{glance.time_s:.1f} s</time>{page.picture(glance.picture, 'in view')}"
        f"<div>{state} {page.play(glance.sound, 'what it says')}<br>"
        f'<meter min="0" max="1" value="{glance.confidence:.2f}"></meter> '
        f"<small>sure {glance.confidence:.2f}, novel {glance.novelty:.2f}</small><br>"
        f"<small>{page.text(glance.remembered)}</small></div>{memory}</li>"
    )


def _words(words: list[LearnedWord]) -> str:
    if not words:
        return ""
    rows = evenly(len(words), MOST_WORDS)
    count = f"{len(rows)} of {len(words):,} clips, evenly chosen." if len(rows) < len(words) else ""
    cards = "".join(_word(words[row]) for row in rows)
    return (
        page.how(
            "Each card is a remembered clip with the frames seen around it: ▶ heard plays the "
            "recording, ▶ own voice the sound that the system makes of it. " + count
        )
        + f'<ul class="cards">{cards}</ul>'
    )


def _word(word: LearnedWord) -> str:
    shown = "".join(page.picture(jpeg, word.name) for jpeg in word.pictures[:MOST_PICTURES])
    return (
        f'<li><div class="row">{shown}</div><small>{page.text(word.name)}</small>'
        f'<div class="row">{page.play(word.clip, "heard")}'
        f"{page.play(word.generated, 'own voice')}</div></li>"
    )


def _window(window: Window | None) -> str:
    if window is None:
        return ""
    parts = [
        page.how(
            "A small network drew these pictures from nothing but the numbers that the eye makes "
            "of a frame. It is a window for you: nothing that the system says depends on it."
        )
    ]
    titles = {
        "remembered": "Remembered",
        "watched": "Of watched videos, never trained on",
    }
    if any(window.heard.values()):
        parts.append("<h3>When it hears a word</h3>")
        parts.append(
            page.how(
                "The network that goes from picture to word, run backwards: press ▶ and see what "
                "the word brings to mind, and below it the remembered frame most like that."
            )
        )
    for part, heard in window.heard.items():
        if heard:
            cards = "".join(_heard(one) for one in heard)
            parts.append(f'<h4>{titles[part]}</h4><ul class="minds">{cards}</ul>')
    if any(window.seen.values()):
        parts.append("<h3>When it sees a thing</h3>")
        parts.append(
            page.how(
                "The frame, what the eye takes for the thing in it, and what is left in the mind."
            )
        )
    for part, seen in window.seen.items():
        if seen:
            cards = "".join(_seen(one) for one in seen)
            parts.append(f'<h4>{titles[part]}</h4><ul class="cards">{cards}</ul>')
    return "".join(parts)


def _heard(heard: Heard) -> str:
    return (
        f"<li>{_drawn(heard.pictured, 'what the word brings to mind')}"
        f"{page.play(heard.clip, 'heard')}<small>{page.text(heard.name)}</small>"
        f'<div class="like">{page.picture(heard.like_frame, "most like it: " + heard.like)}'
        f"<small>most like {page.text(heard.like)}</small></div></li>"
    )


def _seen(seen: Seen) -> str:
    return (
        f'<li><div class="row">{page.picture(seen.frame, "the frame")}'
        f"{_drawn(seen.looked_at, 'what it looks at')}{_drawn(seen.pictured, 'what it pictures')}"
        f"</div><small>{page.text(seen.name)}</small></li>"
    )


def _drawn(picture: np.ndarray, description: str) -> str:
    source = page.data_uri(pictures.png(picture), "image/png")
    return f'<img class="drawn" src="{source}" alt="{page.text(description)}" loading="lazy">'


def _labelled(labelled: Labelled | None) -> str:
    if labelled is None:
        return ""
    facts = "".join(
        f"<li><b>{share:.0%}</b> {page.text(what)}</li>"
        for what, share in labelled.facts.items()
        if share is not None
    )
    guess = "" if labelled.chance is None else f" A guess would be right in {labelled.chance:.0%}."
    parts = [
        page.how(
            "Told by labels, which the system never sees; they were read for this section." + guess
        ),
        f'<ul class="facts">{facts}</ul>',
    ]
    if labelled.curve:
        parts.append(
            "<h3>What another threshold would do</h3>"
            + page.how(
                "The system stays silent when what it sees is too new. That threshold comes from "
                "its memory alone; each dot is the same system with another one."
            )
            + page.figures({"precision and recall over the threshold of novelty": labelled.curve})
        )
    rows = [
        [
            segment["video"],
            f"{segment['start']:.0f}–{segment['end']:.0f} s",
            segment["shown"],
            segment["said"] or "silent",
            "right" if segment["right"] else "wrong",
        ]
        for segment in labelled.segments
    ]
    if rows:
        right = sum(segment["right"] for segment in labelled.segments)
        parts.append(
            f"<details><summary>Segment by segment: {right} of {len(rows)} right</summary>"
            f"{page.table(['video', 'when', 'shown', 'said', ''], rows)}</details>"
        )
    figures = _markdown(scores.table(labelled.score))
    parts.append(f"<details><summary>All figures</summary>{figures}</details>")
    return "".join(parts)


def _sign_accuracy(found: dict[str, SignAccuracy]) -> str:
    if not found:
        return ""
    names = [name for name in asdict(next(iter(found.values()))) if not name.endswith("_spread")]
    rows = []
    for part, accuracy in found.items():
        values = asdict(accuracy)
        cells = [
            f"{values[name]:.1%}"
            + (f" ± {values[f'{name}_spread']:.1%}" if f"{name}_spread" in values else "")
            for name in names
        ]
        rows.append([part, *cells])
    return page.how(
        "Sign accuracy: the share of a word's numbers whose sign is predicted right from what is "
        "seen. What was learned is how far “raw” lies above “constant mean” and “shuffled”, and "
        "“centred” above “shuffled centred”."
    ) + page.table(["", *(name.replace("_", " ") for name in names)], rows)


def _distances(distances: list[bytes]) -> str:
    if not distances:
        return ""
    return (
        "<h3>Distances</h3>"
        + page.how(
            "Dark is alike. Each row and column is a moment, in all pictures in the same order: by "
            "how its word sounds, so that one word is one dark square along the diagonal. Where "
            "sight shows the same squares, it tells the same things apart. Below and beside the "
            "white lines are moments of watched videos: dark patches there, in line with a square "
            "above, are new views and sayings known again."
        )
        + page.figures({f"{number}": png for number, png in enumerate(distances)}, captions=False)
    )


def _maps(maps: dict[str, bytes]) -> str:
    if not maps:
        return ""
    return (
        "<h3>Maps</h3>"
        + page.how(
            "What is alike to the system lies close together (t-SNE). Words are shown as the thing "
            "that was in view when they were heard."
        )
        + page.figures(maps)
    )


def _curves(curves: dict[str, list[dict[str, float]]]) -> str:
    drawn = {
        model.replace("_", " "): pictures.loss_curves(curve, model.replace("_", " "))
        for model, curve in curves.items()
        if len(curve) > 1
    }
    if not drawn:
        return ""
    return page.how(
        "A loss falls while a model learns; a flat line has learned what it can."
    ) + page.figures(drawn, captions=False)


def _memory(memory: list[Remembered], sizes: dict[str, int]) -> str:
    if not memory and not sizes:
        return ""
    parts = [
        page.how("What was kept of each video, and what was left out and why."),
    ]
    if sizes:
        rows = [[what, _size(size)] for what, size in sizes.items()]
        parts.append(page.table(["", "size"], [*rows, ["together", _size(sum(sizes.values()))]]))
    if memory:
        rows = [
            [
                entry.video,
                ", ".join(entry.roles),
                f"{entry.frames:,}",
                _reasons(entry.frame_rejections),
                f"{entry.clips:,}",
                _reasons(entry.clip_rejections),
            ]
            for entry in memory[:MOST_VIDEOS]
        ]
        header = ["video", "role", "frames", "left out", "clips", "left out"]
        parts.append(page.table(header, rows))
        if len(memory) > MOST_VIDEOS:
            parts.append(f"<p>{len(memory) - MOST_VIDEOS:,} more videos are not shown.</p>")
    return "".join(parts)


def _reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _markdown(text: str) -> str:
    """The tables and paragraphs of `score.table`."""
    parts = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if block.startswith("|"):
            header, *rows = ([c.strip() for c in line.split("|")[1:-1]] for line in lines)
            parts.append(page.table(header, rows[1:]))
        else:
            parts.append(f"<p>{page.text(block)}</p>")
    return "".join(parts)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>AELA report</title><style>{style}</style></head><body>
<header><h1>What AELA learned</h1><p>{created}</p><ul class="facts">{summary}</ul>
<p><small>generation {generation}<br>manifest {manifest}</small></p><nav>{links}</nav></header>
<main>{bodies}</main><script>{script}</script></body></html>
"""
