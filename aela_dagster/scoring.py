"""`aela score`: predictions against labels, beside the same system with an untrained network."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markdown import Markdown
from upath import UPath

from aela.evaluation import score as scores
from aela.evaluation import score_tables
from aela.memory.forget import unless_forgotten
from aela.memory.videos import HASH_DIGITS
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.presets import preset
from aela.storage import Home, read_json, write_json

if TYPE_CHECKING:  # Scoring tables needs no network.
    from aela.mimicry.recall import Mimic


def run(
    console: Console,
    home: Home,
    predictions: Path,
    labels: Path,
    out: Path | None,
    untrained: bool,
    preset_name: str,
    seed: int,
) -> None:
    """Score and print; see `aela score --help`.

    Raises:
        FileNotFoundError: there are no predictions or no labels.
        ValueError: the labels are malformed.
    """
    tables = prediction_tables(home, predictions)
    truth = read_labels(labels)
    result: dict[str, Any] = {"learned": scores.score(tables, truth, home)}
    generation = generations.current(home)
    mimic = load_mimic(home, generation, preset_name) if generation else None
    if generation and mimic:
        videos = [table.parent.name for table in tables]
        result["sign_accuracy"] = sign_accuracy(home, generation)
        result |= senses(home, mimic, videos, truth)
        if untrained:
            with console.status("Measuring an untrained network …"):
                result["untrained"] = score_untrained(
                    home, generation, videos, truth, preset_name, seed
                )
    console.print(Markdown(score_tables.markdown(result["learned"])))
    if "untrained" in result:
        console.print(Markdown(comparison(result["learned"], result["untrained"])))
    if signs := result.get("sign_accuracy"):
        console.print(Markdown(sign_table(signs)))
    for sense, what in (("ears", "recognised by ear"), ("pictured", "pictured right when heard")):
        if sense in result:
            console.print(f"Words of watched videos {what}: {percent(result[sense]['all'])}")
    target = UPath(out) if out else home.root / "scores.json"
    write_json(target, result)
    console.print(f"Written to {target}", highlight=False, soft_wrap=True)
    if mimic and all(table.stem == mimic.generation.sha for table in tables):
        with console.status("Writing the report again …"):
            report = report_with_labels(home, mimic, tables, truth, result, preset_name)
        if report:
            console.print(f"The report shows it: {report}", highlight=False, soft_wrap=True)


def read_labels(path: Path) -> Any:
    """
    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no label file {path}.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON ({error}); give a labels.json.") from error


def prediction_tables(home: Home, path: Path) -> list[Path]:
    """The table at `path`, or one table per video below it: the speaking generation's, else newest.

    Raises:
        FileNotFoundError: there is none.
    """
    if path.is_file():
        return [path]
    generation = generations.current(home)
    by_video: dict[Path, list[Path]] = {}
    for table in sorted(path.rglob("*.parquet"), key=lambda file: file.stat().st_mtime):
        by_video.setdefault(table.parent, []).append(table)
    if not by_video:
        raise FileNotFoundError(f"There are no predictions in {path}; run `aela watch` first.")
    return [
        next((t for t in tables if generation and t.stem == generation.sha), tables[-1])
        for tables in by_video.values()
    ]


def score_untrained(
    home: Home, learned: Generation, videos: list[str], labels: Any, preset_name: str, seed: int
) -> dict[str, Any]:
    """The score of `learned` on `videos` if its image encoder had never learned."""
    from aela.evaluation.baseline import untrained_generation
    from aela.mimicry.predict import look, write

    settings = preset(preset_name)
    generation = untrained_generation(home, learned, settings, seed=seed)
    mimic = load_mimic(home, generation, preset_name)
    with tempfile.TemporaryDirectory() as folder:
        tables = [Path(folder) / f"{video}.parquet" for video in videos]
        for video, table in zip(videos, tables, strict=True):
            write(look(home, video, mimic)[0], UPath(table))
        return scores.score(tables, labels, None)


def load_mimic(home: Home, generation: Generation, preset_name: str) -> "Mimic":
    from aela.mimicry.recall import Mimic

    return Mimic.load(home, generation, preset(preset_name).mimicry)


def senses(home: Home, mimic: "Mimic", videos: list[str], labels: Any) -> dict[str, Any]:
    """Words of `videos` recognised by ear, and pictured right where there is an image decoder."""
    from aela.evaluation.ears import recognise
    from aela.evaluation.window import pictured_moments
    from aela.vision.decoder import current_image_decoder, load_image_decoder

    found = {"ears": scores.word_recognition(videos, *recognise(home, mimic, videos), labels)}
    generation = mimic.generation
    drawn_by = current_image_decoder(home, generation.image_encoder, generation.manifest)
    if drawn_by:
        decoder = load_image_decoder(home, drawn_by.sha)
        pictured = pictured_moments(home, mimic, decoder, videos)
        found["pictured"] = scores.word_recognition(videos, *pictured, labels)
    return found


def report_with_labels(
    home: Home,
    mimic: "Mimic",
    tables: list[Path],
    labels: Any,
    result: dict[str, Any],
    preset_name: str,
) -> UPath | None:
    """Write the report of this generation again, with what labels tell of its predictions.

    Args:
        result: the score "learned", and what `senses` found.

    Returns:
        where it is; None where the asset `report` was not made yet.
    """
    from aela.evaluation.evaluate import evaluate
    from aela.evaluation.gather import gather, matrices
    from aela.evaluation.report import Labelled, write_report
    from aela.evaluation.thresholds import precision_recall
    from aela.evaluation.window import required_image_decoder

    generation = mimic.generation
    report = home.report(generation.sha)
    if not report.exists() or "pictured" not in result:
        return None
    learned = result["learned"]
    points, used = precision_recall(tables, labels, generation.threshold)
    labelled = Labelled(
        {
            "of known things named right before their word is heard": learned["remembered"][
                "recall"
            ],
            "of what it says is right": learned["remembered"]["precision"],
            "of frames without anything known are met with silence": learned["silence"]["all"][
                "silent_frames"
            ],
            "of words recognised by ear": result["ears"]["all"],
            "of words heard are pictured as the right thing": result["pictured"]["all"],
        },
        learned["chance"],
        learned,
        scores.segments(tables, labels),
        points,
        used,
    )
    with unless_forgotten(home, home.evaluation(generation.sha)):
        found = evaluate(home, mimic, preset(preset_name).associator.window_s)
        decoder = required_image_decoder(home, mimic)
        write_report(gather(home, mimic, found, matrices(found), decoder, labelled), report)
    return report


def sign_accuracy(home: Home, generation: Generation) -> dict[str, Any] | None:
    """What the asset `evaluation` found for this generation, if it ran."""
    path = home.metrics(generation.sha)
    return read_json(path)["sign_accuracy"] if path.exists() else None


def comparison(learned: dict[str, Any], untrained: dict[str, Any]) -> str:
    """Word accuracy beside chance and the untrained network, as Markdown."""
    lines = [
        "| right | learned | untrained network | chance |",
        "|---|---|---|---|",
    ]
    ours, theirs = learned["remembered"], untrained["remembered"]
    rows: dict[str, tuple[Any, Any]] = {}
    for name, what in (
        ("word_accuracy", "segments"),
        ("word_accuracy_forced", "segments, never silent"),
        ("frame_accuracy_forced", "single frames, never silent"),
    ):
        for group in ("all", "clear", "occluded"):
            rows[f"{what}: {group}"] = (ours[name][group], theirs[name][group])
        for video in ours[name]["by_video"]:
            rows[f"{what}: {video[: -HASH_DIGITS - 1]}"] = (
                ours[name]["by_video"][video],
                theirs[name]["by_video"].get(video),
            )
    rows["answers right"] = (ours["precision"], theirs["precision"])
    lines += [
        f"| {row} | {percent(a)} | {percent(b)} | {percent(learned['chance'])} |"
        for row, (a, b) in rows.items()
    ]
    return "\n".join(lines)


def sign_table(found: dict[str, Any]) -> str:
    """Sign accuracies with their baselines, as Markdown."""
    names = list(next(iter(found.values())))
    lines = ["| sign accuracy | " + " | ".join(n.replace("_", " ") for n in names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for part, values in found.items():
        lines.append(f"| {part} | " + " | ".join(percent(values[n]) for n in names) + " |")
    return "\n".join(lines)


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
