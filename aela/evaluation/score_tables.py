"""A score as people read it: tables and sentences, on a terminal and in the report."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """One row of plain texts below the other."""

    header: list[str]
    rows: list[list[str]]


def parts(scored: dict[str, Any]) -> list[Table | str]:
    """What `aela.evaluation.score.score` returned, as tables and sentences, in order."""
    if not scored["videos"]:
        return ["None of the watched videos has labels."]
    remembered, sound = scored["remembered"], scored["sound"] or {}
    by_sound = {f"sound, by {listener.replace('_', ' ')}": told for listener, told in sound.items()}
    answers, frames = scored["answers"], scored["frames"]
    told: list[Table | str] = [
        _words_right(scored, by_sound),
        f"{answers} answers to {frames} frames; chance is {_percent(scored['chance'])}.",
        _answers(remembered, by_sound),
        _silence(scored["silence"]),
        _novelty(scored["novelty_auroc"]),
        _words(remembered["per_word"]),
    ]
    if scored["unlabelled"]:
        told.append(f"Without labels, left out: {', '.join(scored['unlabelled'])}.")
    return told


def markdown(scored: dict[str, Any]) -> str:
    """What `aela.evaluation.score.score` returned, as Markdown."""
    return "\n\n".join(
        part if isinstance(part, str) else _markdown_table(part) for part in parts(scored)
    )


def _words_right(scored: dict[str, Any], by_sound: dict[str, dict[str, Any]]) -> Table:
    remembered, of = scored["remembered"], scored["known_segments"]
    accuracies = {
        "remembered clip": remembered["word_accuracy"],
        **{title: told["word_accuracy"] for title, told in by_sound.items()},
        "clip, never silent": remembered["word_accuracy_forced"],
    }
    rows = [
        [part, str(of[part]), *(_percent(accuracy[part]) for accuracy in accuracies.values())]
        for part in ("all", "clear", "occluded")
    ]
    for video in scored["videos"]:
        shares = [_percent(accuracy["by_video"][video]) for accuracy in accuracies.values()]
        rows.append([video, str(of["by_video"][video]), *shares])
    return Table(["words right", "known segments", *accuracies], rows)


def _answers(remembered: dict[str, Any], by_sound: dict[str, dict[str, Any]]) -> Table:
    rows = [["remembered clip", _percent(remembered["precision"]), "", ""]]
    for title, told in by_sound.items():
        shares = [_percent(told[name]) for name in ("precision", "survival", "real_words")]
        rows.append([title, *shares])
    header = ["answers", "right", "recalled words that survive", "real words named right"]
    return Table(header, rows)


def _silence(silence: dict[str, dict[str, Any]]) -> Table:
    rows = [
        [
            name.replace("_", " "),
            str(silent["segments"]),
            _percent(silent["silent_segments"]),
            str(silent["frames"]),
            _percent(silent["silent_frames"]),
        ]
        for name, silent in silence.items()
    ]
    return Table(["nothing known in view", "segments", "silent", "frames", "silent"], rows)


def _novelty(areas: dict[str, float | None]) -> Table:
    rows = [
        [name.replace("_", " "), "–" if area is None else f"{area:.2f}"]
        for name, area in areas.items()
    ]
    return Table(["novelty tells known from", "AUROC"], rows)


def _words(per_word: dict[str, dict[str, Any]]) -> Table:
    rows = [
        [
            word,
            f"{counts['right']} of {counts['segments']}",
            f"{counts['right_answers']} of {counts['answers']}",
            ", ".join(f"{other} {n}×" for other, n in counts["taken_for"].items()),
        ]
        for word, counts in per_word.items()
    ]
    return Table(["word", "segments right", "answers right", "taken for"], rows)


def _markdown_table(table: Table) -> str:
    lines = [table.header, ["---"] * len(table.header), *table.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
