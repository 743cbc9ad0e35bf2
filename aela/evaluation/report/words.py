"""What it learned: a row for each word that it discovered."""

from aela.evaluation import page
from aela.evaluation.vocabulary import DiscoveredWord, Vocabulary


def learned(vocabulary: Vocabulary | None) -> str:
    """The section, empty where no word was heard."""
    if vocabulary is None or not vocabulary.words:
        return ""
    left_out = vocabulary.found - len(vocabulary.words)
    more = f"<p>{left_out:,} more words, heard less often, are not shown.</p>" if left_out else ""
    rows = "".join(_row(word) for word in vocabulary.words)
    return (
        page.how(
            "Each row is one word as it found it by ear: sayings that sound alike were put "
            "together, nobody told it which. “Heard” plays the most typical saying, “own voice” "
            "what the system makes of it; the pictures were in view then. The bar is the share of "
            "such pictures that bring this word to mind by another saying than their own."
        )
        + f'<ol class="words">{rows}</ol>{more}'
    )


def _row(word: DiscoveredWord) -> str:
    shown = "".join(
        page.picture(jpeg, f"in view with word {word.number}") for jpeg in word.pictures
    )
    times = "once" if word.heard == 1 else f"{word.heard:,} times"
    where = "in one video" if word.videos == 1 else f"in {word.videos:,} videos"
    if word.remembered is None:
        kept = "<small>too little to tell</small>"
    else:
        share = f"{word.remembered:.0%}"
        kept = (
            f'<meter min="0" max="1" value="{word.remembered:.2f}" '
            f'aria-label="remembered"></meter> {share} remembered'
        )
    return (
        f'<li style="--word:{hue(word.number)}"><h3>word {word.number}</h3>'
        f'<div class="row">{shown}</div>'
        f'<div class="buttons">{page.play(word.clip, "heard")}'
        f"{page.play(word.own_voice, 'own voice')}</div>"
        f"<div>heard {times} {where}<br>{kept}<br><small>{page.text(word.name)}</small></div></li>"
    )


def hue(word: int) -> int:
    """A colour for each word, in degrees: neighbours in number are far apart."""
    return round(word * 137.5) % 360
