"""How it trained, how well it predicts words, and what it forgot."""

from dataclasses import asdict

from aela.evaluation import charts, page
from aela.evaluation.forgetting import Forgetting
from aela.evaluation.signs import SignAccuracy

SHORT = 8  # digits of a hash


def trained(curves: dict[str, list[dict[str, float]]]) -> str:
    """The losses of each model, as on its card."""
    drawn = {model: _losses(curve) for model, curve in curves.items() if len(curve) > 1}
    if not drawn:
        return ""
    return page.how(
        "Each chart is one figure of a model's last training, over its steps. A loss falls while a "
        "model learns; a flat line has learned what it can."
    ) + "".join(
        f'<h3>{page.text(model.replace("_", " "))}</h3><div class="charts">{"".join(figures)}</div>'
        for model, figures in drawn.items()
    )


def _losses(curve: list[dict[str, float]]) -> list[str]:
    names = sorted({name for point in curve for name in point} - {"step"})
    figures = []
    for name in sorted(names, key=lambda name: name != "loss"):
        points = [(point["step"], point[name]) for point in curve if name in point]
        if len(points) > 1:
            chart = charts.lines({name: points}, "step", name)
            figures.append(page.figure(chart, name.replace("_", " ")))
    return figures


def predicted(found: dict[str, SignAccuracy]) -> str:
    """Sign accuracies by part, with what a constant and a shuffled prediction reach."""
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


def forgotten(found: Forgetting | None) -> str:
    """What became of old memories."""
    if found is None or not (found.videos or found.generations):
        return ""
    figures = []
    if found.generations:
        points = list(enumerate(found.generations.values(), start=1))
        chart = charts.lines(
            {"what the first one learned from": points},
            "generations, oldest first",
            "agreement",
            y_range=(0.5, 1.0),
            dots=True,
        )
        named = ", ".join(sha[:SHORT] for sha in found.generations)
        figures.append(page.figure(chart, f"agreement with the oldest moments: {named}"))
    if len(found.videos) > 1:
        points = list(enumerate(found.videos.values(), start=1))
        chart = charts.lines(
            {"videos": points}, "videos, in the order they came", "agreement", y_range=(0.5, 1.0)
        )
        worst = min(found.videos, key=lambda video: found.videos[video])
        figures.append(
            page.figure(
                chart, f"agreement with each video; least, {found.videos[worst]:.2f}: {worst}"
            )
        )
    alone = "" if found.generations else " So far only one generation spoke."
    return (
        page.how(
            "Agreement: shown a remembered frame, how often is the word heard with it nearer than "
            "the words of other moments? 1 is always, 0.5 as by chance. Where a line falls from "
            "generation to generation, or lies lower for the videos on the left, it forgets what "
            "it learned first." + alone
        )
        + f'<div class="charts">{"".join(figures)}</div>'
    )
