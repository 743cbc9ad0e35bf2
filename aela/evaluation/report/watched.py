"""What it says: look by look, what was in view and what it answered."""

from dataclasses import dataclass

from aela.evaluation import page
from aela.evaluation.pictures import evenly
from aela.evaluation.report.silence import Glance
from aela.mimicry.certainty import Certainty

FIRST = 4  # videos that are not behind a line "more videos"
MOST_BARS = 300  # in a strip
HEIGHT = 40  # of a strip


Answer = tuple[float, Certainty, float]
"""When it looked, in s, what it answered, and its confidence."""


@dataclass(frozen=True)
class WatchedVideo:
    """Of one video, all answers and some glances."""

    video: str
    answers: list[Answer]
    glances: list[Glance]


def said(watched: list[WatchedVideo], unshown: int) -> str:
    """The section; `unshown` videos more were watched."""
    if not watched:
        return ""
    parts = [
        page.how(
            "Each row is one look at the video: what was in view, whether the system spoke and how "
            "sure it was, and the remembered moment it leaned on. In the strip above the rows, "
            "time runs from left to right; green is speech, amber speech of which it is unsure, "
            "higher is surer, and grey is silence."
        )
    ]
    parts += [_video(video, number == 0) for number, video in enumerate(watched[:FIRST])]
    if more := watched[FIRST:]:
        others = "".join(_video(video) for video in more)
        parts.append(f"<details><summary>{len(more):,} more videos</summary>{others}</details>")
    if unshown:
        parts.append(f"<p>{unshown:,} more watched videos are not shown.</p>")
    return "".join(parts)


def _video(video: WatchedVideo, is_open: bool = False) -> str:
    left_out = len(video.answers) - len(video.glances)
    more = f"<p>{left_out:,} more looks are not shown.</p>" if left_out else ""
    spoken = sum(answer != "silent" for _, answer, _ in video.answers)
    return (
        f"<details{' open' if is_open else ''}><summary>{page.text(video.video)}: {spoken:,} "
        f"answers to {len(video.answers):,} looks</summary>{_strip(video.answers)}"
        f'<ol class="glances">{"".join(_glance(glance) for glance in video.glances)}</ol>'
        f"{more}</details>"
    )


def _strip(answers: list[Answer]) -> str:
    """Said and silent over time, as a drawing that scales with the page."""
    if not answers:
        return ""
    end_s = max(time_s for time_s, _, _ in answers) + 1
    shown = [answers[row] for row in evenly(len(answers), MOST_BARS)]
    width = 900 / max(len(shown), 1)
    bars = []
    for time_s, answer, confidence in shown:
        height = 4 if answer == "silent" else HEIGHT * min(max(confidence, 0.15), 1.0)
        bars.append(
            f'<rect class="{answer}" x="{time_s / end_s * 1000:.1f}" width="{width:.1f}" '
            f'y="{HEIGHT - height:.1f}" height="{height:.1f}"/>'
        )
    return (
        f'<svg class="strip" viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="Speech over time, 0 to {end_s:.0f} seconds">{"".join(bars)}</svg>'
    )


def _glance(glance: Glance) -> str:
    name = {"said": "says", "unsure": "says, unsure", "silent": "silent"}[glance.answer]
    state = f'<b class="{glance.answer}">{name}</b>'
    memory = page.picture(glance.remembered_picture, f"remembered: {glance.remembered}")
    return (
        f"<li><time>{glance.time_s:.1f} s</time>{page.picture(glance.picture, 'in view')}"
        f"<div>{state} {page.play(glance.sound, 'play')}<br>"
        f'<meter min="0" max="1" value="{glance.confidence:.2f}" aria-label="sure"></meter> '
        f"<small>sure {glance.confidence:.2f}, novel {glance.novelty:.2f}</small><br>"
        f"<small>{page.text(glance.remembered)}</small></div>{memory}</li>"
    )
