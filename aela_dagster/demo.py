"""`aela demo`: sample videos in, the whole asset graph, and a table of what was said."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress
from rich.table import Table

from aela.evaluation import score as scores
from aela.evaluation import score_tables
from aela.memory.videos import ROLES, Role
from aela.mimicry import generation as generations
from aela.storage import Home, sha256
from aela_dagster import scoring, stages
from aela_dagster.runs import Runner

SAMPLES = Path("demo/videos")
SAMPLES_HOME = Path("demo/data")
OWN_HOMES = Path("demo/own")
SAMPLE_PRESET = "quick"
OWN_PRESET = "aela1"


def run(
    console: Console,
    folder: str | None,
    videos: Path | None,
    watch: Path | None,
    preset: str | None,
    device: str,
    seed: int,
) -> None:
    """The whole way on sample videos, or on the user's own; see `aela demo --help`.

    Raises:
        FileNotFoundError: a given folder or file is not there.
        ValueError: only one of `videos` and `watch` makes no demo.
        RunFailed: a step failed.
    """
    start = time.monotonic()
    if (videos is None) != (watch is None):
        raise ValueError("Give both --videos (to learn from) and --watch, or neither.")
    if videos is None or watch is None:
        console.rule("1  Sample videos")
        labels = _samples(console, seed)
        videos, watch = SAMPLES / "train", SAMPLES / "test"
        preset = preset or SAMPLE_PRESET
        home = Home.at(folder or SAMPLES_HOME)
    else:
        labels = _labels_beside(videos)
        preset = preset or OWN_PRESET
        # Other videos are another demo: what one folder taught is not mixed with another's.
        home = Home.at(folder or OWN_HOMES / sha256(bytes(videos.resolve()))[:8])
    sources: dict[Role, list[Path]] = {
        "learn": stages.files([videos]),
        "watch": stages.files([watch]),
    }
    runner = Runner.at(home, preset=preset, device=device, seed=seed, bars=True)

    console.rule("2  Frames and clips")
    keys: dict[Role, list[str]] = {}
    for role in ROLES:
        console.print(f"To {role}:", highlight=False)
        keys[role] = stages.ingest(console, runner, sources[role], role)

    console.rule("3  Learning")
    stages.learn(console, runner)

    console.rule("4  Watching")
    stages.watch(console, runner, keys["watch"], table=labels is None)
    runner.run("evaluate")

    generation = generations.required(home)
    if labels:
        console.rule("5  Was it right?")
        truth = scoring.read_labels(labels)
        tables = [Path(str(home.predictions(key, generation.sha))) for key in keys["watch"]]
        learned = scores.score(tables, truth, home)
        with console.status("Measuring an untrained network …"):
            untrained = scoring.score_untrained(
                home, generation, keys["watch"], truth, preset, seed
            )
        console.print(segments(scores.segments(tables, truth)))
        console.print(Markdown(score_tables.markdown(learned)))
        console.print(Markdown(scoring.comparison(learned, untrained)))
        with console.status("Writing the report …"):
            mimic = scoring.load_mimic(home, generation, preset)
            found = {"learned": learned, **scoring.senses(home, mimic, keys["watch"], truth)}
            scoring.report_with_labels(home, mimic, tables, truth, found, preset)
    console.rule(f"Done in {(time.monotonic() - start) / 60:.1f} minutes")
    watched = home.all_predictions
    console.print(
        f"Report         {home.report(generation.sha)}\n"
        f"Spoken videos  {watched}/*/*.mp4\n"
        f"Sounds         {watched}/*/*/*.flac\n"
        f"One prediction traced back: aela trace --home {home.root} {keys['watch'][0]}@3\n"
        f"The UI on this run:         aela up --home {home.root}",
        highlight=False,
        soft_wrap=True,
    )


def _samples(console: Console, seed: int) -> Path:
    """Make the sample videos, unless they are there already."""
    from aela.nursery import NurserySettings, make_nursery

    labels = SAMPLES / "labels.json"
    if labels.exists():
        console.print(f"Using the videos in {SAMPLES}", highlight=False)
        return labels
    with Progress(console=console) as bars:
        task = bars.add_task("Drawing and speaking", total=None)

        def progress(what: str, done: int, of: int) -> None:
            bars.update(task, description=what, completed=done, total=of)

        return make_nursery(SAMPLES, NurserySettings(seed=seed), progress)


def _labels_beside(videos: Path) -> Path | None:
    """labels.json in the folder of the videos or above it: for scoring, never for learning."""
    folder = videos if videos.is_dir() else videos.parent
    candidates = (folder / "labels.json", folder.parent / "labels.json")
    return next((path for path in candidates if path.is_file()), None)


def segments(found: list[dict[str, Any]]) -> Table:
    """What was shown, and what was said to it."""
    table = Table("video", "from", "to", "shown", "said", "")
    for row in found:
        table.add_row(
            row["video"],
            f"{row['start']:.0f} s",
            f"{row['end']:.0f} s",
            row["shown"],
            row["said"] or "[dim]silent[/]",
            "[green]right[/]" if row["right"] else "[red]wrong[/]",
        )
    return table
