"""When it stays silent: the threshold of novelty, and the looks that were most novel."""

from dataclasses import dataclass

import numpy as np

from aela.evaluation import charts, page
from aela.evaluation.silence import Novelties
from aela.mimicry.certainty import Certainty


@dataclass(frozen=True)
class Glance:
    """One row of a prediction table with its pictures (JPEG) and sound.

    `remembered` names the nearest remembered moment; `sound` is None in silence.
    """

    time_s: float
    picture: bytes
    answer: Certainty
    confidence: float
    novelty: float
    remembered: str
    remembered_picture: bytes | None = None
    sound: np.ndarray | None = None


def silence(novelties: Novelties | None, silent: list[tuple[str, Glance]]) -> str:
    """The section; of each of the most novel looks the video and the look."""
    parts = []
    if novelties and novelties.values:
        chart = charts.lanes(
            novelties.values,
            "novelty",
            novelties.threshold,
            f"silent above {novelties.threshold:.2f}",
        )
        parts.append(
            page.how(
                "How novel pictures are to it, from 0 on the left to 1 on the right; beyond the "
                "line it stays silent. Remembered things, measured as if they were met anew, "
                "should lie before the line, and what lay beside them behind it. The line comes "
                "from memory alone."
            )
            + f'<div class="broad">{chart}</div>'
        )
    if silent:
        cards = "".join(_card(video, glance) for video, glance in silent)
        parts.append(
            "<h3>The most novel looks</h3>"
            + page.how(
                "What was in view when it was surest that it does not know it, and what it knows "
                "that looks most like it."
            )
            + f'<ul class="cards">{cards}</ul>'
        )
    return "".join(parts)


def _card(video: str, glance: Glance) -> str:
    return (
        f'<li><div class="row pair">{page.picture(glance.picture, "in view")}'
        f"{page.picture(glance.remembered_picture, 'most like it: ' + glance.remembered)}</div>"
        f"<small>{page.text(video)}, {glance.time_s:.1f} s: novelty {glance.novelty:.2f}</small>"
        "</li>"
    )
