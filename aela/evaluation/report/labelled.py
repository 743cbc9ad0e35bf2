"""Was it right? What labels tell, which the system itself never sees."""

from dataclasses import dataclass, field
from typing import Any

from aela.evaluation import charts, page, score_tables
from aela.evaluation.thresholds import Point


@dataclass(frozen=True)
class Labelled:
    """What labels tell.

    Attributes:
        facts: shares, 0 to 1, by what they are of; None where there was nothing to share.
        chance: what a guess would reach.
        score: what `score` returned. segments: what `segments` returned.
        points: precision and recall at thresholds of novelty, and at the one in `use`, if it could
            be measured.
    """

    facts: dict[str, float | None]
    chance: float | None
    score: dict[str, Any]
    segments: list[dict[str, Any]]
    points: list[Point] = field(default_factory=list)
    use: Point | None = None


def labelled(told: Labelled | None) -> str:
    """The section, empty without labels."""
    if told is None:
        return ""
    facts = "".join(
        f"<li><b>{share:.0%}</b> {page.text(what)}</li>"
        for what, share in told.facts.items()
        if share is not None
    )
    guess = "" if told.chance is None else f" A guess would be right in {told.chance:.0%}."
    rows = [
        [
            segment["video"],
            f"{segment['start']:.0f}–{segment['end']:.0f} s",
            segment["shown"],
            segment["said"] or "silent",
            "right" if segment["right"] else "wrong",
        ]
        for segment in told.segments
    ]
    parts = [
        page.how(
            "Told by labels, which the system never sees; they were read for this section." + guess
        ),
        f'<ul class="facts">{facts}</ul>',
        _curve(told.points, told.use),
    ]
    if rows:
        right = sum(segment["right"] for segment in told.segments)
        parts.append(
            f"<details><summary>Segment by segment: {right} of {len(rows)} right</summary>"
            f"{page.table(['video', 'when', 'shown', 'said', ''], rows)}</details>"
        )
    parts.append(f"<details><summary>All figures</summary>{_figures(told.score)}</details>")
    return "".join(parts)


def _curve(points: list[Point], use: Point | None) -> str:
    speaking = [(p.recall, p.precision) for p in points if p.precision is not None]
    if not speaking or use is None or use.precision is None:
        return ""
    least = min(0.5, *(precision for _, precision in speaking))
    chart = charts.lines(
        {"other thresholds": speaking},
        "recall: share of known things named right",
        "precision: share of answers right",
        x_range=(0.0, 1.0),
        y_range=(least, 1.0),
        dots=True,
        marked=(use.recall, use.precision, f"in use: {use.threshold:.2f}"),
    )
    return (
        "<h3>What another threshold would do</h3>"
        + page.how(
            "Upwards, more of what it says is right; to the right, it names more of the known "
            "things. It stays silent when what it sees is too new. That threshold comes from its "
            "memory alone and is marked; each dot is the same system with another one."
        )
        + f'<div class="broad">{page.figure(chart, "share of answers right, over recall")}</div>'
    )


def _figures(score: dict[str, Any]) -> str:
    return "".join(
        f"<p>{page.text(part)}</p>" if isinstance(part, str) else page.table(part.header, part.rows)
        for part in score_tables.parts(score)
    )
