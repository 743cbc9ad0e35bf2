"""Take in, learn, watch: what the commands share, with progress on the terminal."""

import time
from collections.abc import Iterable
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from upath import UPath

from aela.memory import store
from aela.memory.videos import Role, without_hash
from aela.mimicry import generation as generations
from aela.mimicry.generation import UnknownGeneration
from aela.mimicry.predict import read_predictions, standing
from aela.mimicry.sayings import Heard, Words
from aela_dagster import records
from aela_dagster.learner import is_looked_after
from aela_dagster.runs import RunFailed, Runner

WAIT_S = 2.0  # between two looks at what is under way
MOST_ROWS = 60  # of what was said in one video, on the terminal


def files(paths: Iterable[Path]) -> list[Path]:
    """The files among `paths` and directly inside its folders, without hidden ones and labels.

    Raises:
        FileNotFoundError: there is no such file, or none at all.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(
                file
                for file in path.iterdir()
                if file.is_file() and not file.name.startswith(".") and file.suffix != ".json"
            )
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(f"There is no file or folder {path}; give the path of a video.")
    if not found:
        raise FileNotFoundError("There are no files in the given folders; put videos there first.")
    return found


def ingest(console: Console, runner: Runner, sources: list[Path], role: Role) -> list[str]:
    """Take in and ingest each file; what cannot be read is said and passed over.

    Returns:
        the keys of the videos that memory holds now.

    Raises:
        RunFailed: none of them could be read.
    """
    ingested = []
    for number, source in enumerate(sources, start=1):
        label = f"[dim]{number}/{len(sources)}[/] {escape(source.name)}"
        try:
            video = runner.take_in(source, role).video
            if not store.content(runner.home, video):
                with console.status(f"Looking at {escape(source.name)} …"):
                    runner.run("ingest", video)
        except (RunFailed, ValueError, OSError) as error:
            console.print(
                f"  [red]✗[/] {label}: {escape(str(error))}", highlight=False, soft_wrap=True
            )
            continue
        entry = store.entry(runner.home, video)
        if entry is None:  # Forgotten by somebody else, just now.
            continue
        console.print(
            f"  [green]✓[/] {label}: {entry.frames} frames, {entry.clips} clips", highlight=False
        )
        ingested.append(video)
    if not ingested:
        raise RunFailed("None of the files could be used; the lines above say why.")
    return ingested


def require_all(sources: list[Path], ingested: list[str]) -> None:
    """
    Raises:
        RunFailed: some of the files could not be used.
    """
    if missing := len(sources) - len(ingested):
        raise RunFailed(
            f"{missing} of {len(sources)} files could not be used; the lines above say why."
        )


def learn(console: Console, runner: Runner) -> None:
    """Train on everything remembered and publish a generation.

    Trainings that are under way, as of `aela up`, are waited for: no model is trained twice at
    once, and what they learn is built on.

    Raises:
        RunFailed: a step failed.
    """
    start = time.monotonic()
    with console.status("") as status:
        while training := _trainings(runner.instance):
            runs = ", ".join(run.run_id[:8] for run in training)
            status.update(f"Waiting for trainings that are under way (runs {runs}) …")
            time.sleep(WAIT_S)
    console.print("Learning from everything remembered")
    runner.run("learn")
    generation = generations.required(runner.home)
    console.print(
        f"  [green]✓[/] generation {generation.sha[:12]} speaks now "
        f"({time.monotonic() - start:.0f} s)",
        highlight=False,
    )


def _trainings(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """The runs that train; of those that did not begin, only where somebody will begin them."""
    begun = is_looked_after(instance)
    return [
        run
        for run in records.under_way(instance)
        if records.trained_in([run]) and (begun or run.status == dg.DagsterRunStatus.STARTED)
    ]


def watch(
    console: Console,
    runner: Runner,
    videos: list[str],
    *,
    original_volume: float | None = None,
    table: bool = True,
) -> None:
    """Have the current generation look at ingested videos, and print what it said.

    Args:
        original_volume: share of their own sound that stays in the spoken videos.
        table: print every answer, not only where to find them.

    Raises:
        RunFailed: some could not be watched; the others were.
    """
    failure = None
    with console.status(f"Watching {len(videos)} videos …"):
        try:
            runner.watch(videos, original_volume)
        except RunFailed as error:
            failure = error
    for video in videos:
        try:
            generation = standing(runner.home, video)
        except UnknownGeneration:
            continue  # `failure` says why.
        path = runner.home.predictions(video, generation)
        if table:
            console.print(said(runner, video, generation))
        console.print(
            f"  [green]✓[/] {video}\n"
            f"    predictions   {path}\n"
            f"    sounds        {path.with_suffix('')}/\n"
            f"    spoken video  {path.with_suffix('.mp4')}",
            highlight=False,
            soft_wrap=True,
        )
    if failure:
        raise failure


def report(console: Console, runner: Runner) -> UPath:
    """Measure the generation that speaks and write its report; returns where it is.

    Raises:
        UnknownGeneration: nothing was learned yet.
        RunFailed: a step failed.
    """
    generation = generations.required(runner.home)
    runner.run("evaluate")
    written = runner.home.report(generation.sha)
    console.print(f"  [green]✓[/] report  {written}", highlight=False, soft_wrap=True)
    return written


def said(runner: Runner, video: str, generation: str) -> Table:
    """What was said when: the same word, by its sound, said again and again shares a row."""
    words = Words(runner.home)
    table = Table("from", "to", "looks", "said", "confidence", "novelty", title=video)
    rows = read_predictions(runner.home, video, generation).to_pylist()
    groups: list[list[dict]] = []
    for row in rows:
        if groups and words.same_answer(_answer(groups[-1][0]), _answer(row)):
            groups[-1].append(row)
        else:
            groups.append([row])
    for group in groups[:MOST_ROWS]:
        first, last = group[0], group[-1]
        word = (
            f"as in {without_hash(first['clip_video'])} at {first['clip_start_s']:.1f} s"
            if first["said"]
            else "[dim]silent[/]"
        )
        table.add_row(
            f"{first['time_s']:.1f} s",
            f"{last['time_s']:.1f} s",
            str(len(group)),
            word,
            f"{_mean(group, 'confidence'):.2f}",
            f"{_mean(group, 'novelty'):.2f}",
        )
    if len(groups) > MOST_ROWS:
        table.caption = f"{len(groups) - MOST_ROWS} more in the table on disk"
    return table


def _answer(row: dict) -> Heard | None:
    return (row["clip_video"], row["clip_start_s"]) if row["said"] else None


def _mean(rows: list[dict], column: str) -> float:
    return sum(row[column] for row in rows) / len(rows)
