"""The report: one HTML file that shows what was learned and what was said, without any network.

Sections lie in modules by subject; what they show is gathered in `aela.evaluation.gather`.
"""

from dataclasses import dataclass, field

import numpy as np
from upath import UPath

from aela.evaluation import page
from aela.evaluation.forgetting import Forgetting
from aela.evaluation.moment_map import MappedMoment
from aela.evaluation.report.alike import alike
from aela.evaluation.report.labelled import Labelled, labelled
from aela.evaluation.report.memory import remembered
from aela.evaluation.report.mind import pictured
from aela.evaluation.report.silence import Glance, silence
from aela.evaluation.report.style import SCRIPT, STYLE
from aela.evaluation.report.training import forgotten, predicted, trained
from aela.evaluation.report.watched import WatchedVideo, said
from aela.evaluation.report.words import learned
from aela.evaluation.signs import SignAccuracy
from aela.evaluation.silence import Novelties
from aela.evaluation.vocabulary import Vocabulary
from aela.evaluation.window import Window
from aela.memory.store import Remembered
from aela.storage import write_bytes

__all__ = ["Glance", "Labelled", "ReportData", "WatchedVideo", "render", "write_report"]


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows; what is left empty is left out.

    Attributes:
        generation, manifest: hashes. created: when, as ISO text.
        memory: the index entries of all remembered videos. sizes: bytes by what they hold.
        statistics: values of clips and frames [n] by what they measure.
        vocabulary: the words it discovered. moments: on the map.
        curves: losses by model, as on the checkpoints' cards.
        sign_accuracy: by part, for instance "train" and "test". labelled: what labels tell.
        distances: PNGs from `pictures`, by title. window: what is pictured when it sees and hears.
        watched: what was said to watched videos; unshown: how many more were watched.
        novelties: of things, ground and looks; silent: the most novel looks.
        forgetting: what became of old memories.
    """

    generation: str
    manifest: str
    created: str
    memory: list[Remembered] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    statistics: dict[str, np.ndarray] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    moments: list[MappedMoment] = field(default_factory=list)
    curves: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    sign_accuracy: dict[str, SignAccuracy] = field(default_factory=dict)
    labelled: Labelled | None = None
    distances: dict[str, bytes] = field(default_factory=dict)
    window: Window | None = None
    watched: list[WatchedVideo] = field(default_factory=list)
    unshown: int = 0
    novelties: Novelties | None = None
    silent: list[tuple[str, Glance]] = field(default_factory=list)
    forgetting: Forgetting | None = None


def write_report(data: ReportData, path: UPath) -> None:
    """Write the report; readers see the whole new file or nothing of it."""
    write_bytes(path, render(data).encode())


def render(data: ReportData) -> str:
    """The report as HTML."""
    sections = [
        ("Was it right?", labelled(data.labelled)),
        ("What it learned", learned(data.vocabulary)),
        ("What it says", said(data.watched, data.unshown)),
        ("When it stays silent", silence(data.novelties, data.silent)),
        ("What it pictures", pictured(data.window)),
        ("What is alike to it", alike(data.moments, data.distances)),
        ("How well it predicts words", predicted(data.sign_accuracy)),
        ("What it forgot", forgotten(data.forgetting)),
        ("How it trained", trained(data.curves)),
        ("What it remembers", remembered(data.memory, data.sizes, data.statistics)),
    ]
    shown = [(title, body) for title, body in sections if body]
    links = " ".join(f'<a href="#s{i}">{title}</a>' for i, (title, _) in enumerate(shown))
    bodies = "".join(
        f'<section id="s{i}"><h2>{title}</h2>{body}</section>'
        for i, (title, body) in enumerate(shown)
    )
    return PAGE.format(
        style=page.STYLE + STYLE,
        script=page.SCRIPT + SCRIPT,
        summary=_summary(data),
        created=page.text(data.created[:16].replace("T", " ")),
        generation=page.text(data.generation),
        manifest=page.text(data.manifest),
        links=links,
        bodies=bodies,
    )


def _summary(data: ReportData) -> str:
    entries = [entry for entry in data.memory if "learn" in entry.roles]
    facts = [
        (len(entries), "videos to learn from"),
        (sum(entry.frames for entry in entries), "remembered frames"),
        (sum(entry.clips for entry in entries), "remembered clips"),
        (data.vocabulary.found if data.vocabulary else 0, "words discovered"),
        (len(data.watched) + data.unshown, "videos watched"),
    ]
    return "".join(f"<li><b>{number:,}</b> {page.text(what)}</li>" for number, what in facts)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>AELA report</title><style>{style}</style></head><body>
<header><h1>What AELA learned</h1><p>{created}</p>
<p>Somebody showed things to a camera and named them. From these videos alone, without labels, text
or anything learned before, AELA found out which word goes with which sight. When it sees a thing
again, it says its word in a voice of its own; when what it sees is too new, it stays silent.</p>
<ul class="facts">{summary}</ul>
<details><summary>Words used here</summary><dl>
<dt>frame, clip</dt><dd>a picture that was kept of a video; a word that was cut out of its
sound.</dd><dt>moment</dt><dd>a frame and a clip that are close in time: the only thing that joins
seeing and hearing.</dd><dt>to bring to mind</dt><dd>to predict a word from a picture, and find the
remembered clip that is nearest to it.</dd><dt>novelty</dt><dd>how little a picture looks like
remembered things, compared with what lay beside them: 0 for a thing seen before, 1 for bare
ground.</dd><dt>generation</dt><dd>the networks that learned together and speak together; each round
of learning makes one.</dd></dl></details>
<p><small>generation {generation}<br>manifest {manifest}</small></p><nav>{links}</nav></header>
<main>{bodies}</main><script>{script}</script></body></html>
"""
