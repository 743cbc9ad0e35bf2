"""What it pictures: a window for people into what it sees and hears."""

import numpy as np

from aela.evaluation import page, pictures
from aela.evaluation.window import Heard, Seen, Window

TITLES = {
    "remembered": "Remembered",
    "watched": "Of watched videos, never trained on",
}


def pictured(window: Window | None) -> str:
    """The section, empty without a window."""
    if window is None:
        return ""
    parts = [
        page.how(
            "A small network drew these pictures from nothing but the numbers that the eye makes "
            "of a frame. It is a window for you: nothing that the system says depends on it."
        )
    ]
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
            parts.append(f'<h4>{TITLES[part]}</h4><ul class="minds">{cards}</ul>')
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
            parts.append(f'<h4>{TITLES[part]}</h4><ul class="cards">{cards}</ul>')
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
