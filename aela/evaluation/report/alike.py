"""What is alike to it: moments on a map, and the distances between them."""

from aela.evaluation import page
from aela.evaluation.moment_map import MappedMoment
from aela.evaluation.report.words import hue

SENSES = {
    "image": "as it sees them",
    "word": "as it hears their words",
    "predicted": "by the word it predicts from what it sees",
}
THUMBNAIL = 96  # pixels


def alike(moments: list[MappedMoment], distances: dict[str, bytes]) -> str:
    """The section, of the map and PNGs of the matrices of distances, by title."""
    return _map(moments) + _distances(distances)


def _map(moments: list[MappedMoment]) -> str:
    if not moments:
        return ""
    choices = "".join(
        f'<label><input type="radio" name="sense" value="{sense}"'
        f"{' checked' if number == 0 else ''}> {name}</label>"
        for number, (sense, name) in enumerate(SENSES.items())
    )
    points = "".join(_point(moment) for moment in moments)
    return (
        "<h3>A map of moments</h3>"
        + page.how(
            "Each picture is a moment; those that are alike to the system lie close together "
            "(t-SNE), and a ring's colour is the word that was heard, found by ear. Point at one "
            "to see it large, press it to hear its word; with the keyboard, the arrow keys go to "
            "the next one. Dashed rings are moments of watched videos, which it never learned from."
        )
        + f'<div class="maps"><fieldset><legend>Laid out</legend>{choices}'
        '<label><input type="checkbox" name="list"> as a list</label></fieldset>'
        f'<ul class="map" aria-label="Moments">{points}</ul><p class="told" aria-live="polite"></p>'
        "</div>"
    )


def _point(moment: MappedMoment) -> str:
    at = ";".join(
        f"--{sense}-x:{x:.3f};--{sense}-y:{y:.3f}" for sense, (x, y) in moment.places.items()
    )
    name = f"word {moment.word}, {moment.name}" + (", watched" if moment.watched else "")
    kind = ' class="watched"' if moment.watched else ""
    return (
        f'<li style="--word:{hue(moment.word)};{at}"><button{kind} '
        f'data-sound="{page.sound(moment.clip)}" aria-label="{page.text(name)}">'
        f"{page.picture(moment.picture, '', THUMBNAIL)}</button>"
        f"<small>{page.text(name)}</small></li>"
    )


def _distances(distances: dict[str, bytes]) -> str:
    if not distances:
        return ""
    return (
        "<h3>Distances</h3>"
        + page.how(
            "Dark is alike. Each row and column is a moment, in all pictures in the same order: by "
            "how its word sounds, so that one word is one dark square along the diagonal. Where "
            "sight shows the same squares, it tells the same things apart. Below and beside the "
            "white lines are moments of watched videos (test): dark patches there, in line with a "
            "square above, are new views and sayings known again."
        )
        + page.figures(distances, captions=False)
    )
