"""`aela generations`: list and compare what spoke and what was refused, and go back to it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import dagster as dg
import typer
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from aela.memory import manifest as manifests
from aela.memory.videos import without_hash
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.storage import Home
from aela_dagster.options import HomeOption
from assets.association import generation_metadata

MOST_VIDEOS = 10  # in each list of a comparison, those that changed most
SHOWN = 12  # characters of a hash

app = typer.Typer(help="List, compare and take back what was learned.", no_args_is_help=True)
console = Console()

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Name = Annotated[str, typer.Argument(help="A generation's hash, or the start of it.")]


@app.command()
def ls(
    last: Annotated[int, typer.Option(help="List so many, the newest.", min=1)] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List generations, oldest first: which speaks, and what became of the others.

    Agreement is the share of other remembered words that are farther from what a remembered frame
    brings to mind than the word heard with it: 1 at best, 0.5 by chance. In brackets, that of the
    generation before on the same moments.

    Example: `aela generations ls`
    """
    where = Home.at(home)
    listed = [_row(where, generation) for generation in generations.known(where)[-last:]]
    if as_json:
        print(json.dumps(listed, indent=1))
        return
    if not listed:
        console.print("Nothing was learned yet; run `aela learn VIDEO...` first.", highlight=False)
        return
    names = ("", "generation", "made", "videos", "frames", "clips", "agreement", "state", "parent")
    columns = (Column(name, no_wrap=True) for name in names)
    table = Table(*columns, box=SIMPLE, padding=(0, 1, 0, 0))
    for row in listed:
        table.add_row(
            "▶" if row["speaks"] else "",
            row["generation"][:SHOWN],
            row["created"][:16].replace("T", " "),
            *(str(row[name]) for name in ("videos", "frames", "clips")),
            _figures(row["figures"]),
            row["state"] or "–",
            (row["parent"] or "–")[:SHOWN],
        )
    console.print(table, highlight=False)
    for row in listed:
        if row["state"] in ("refused", "withdrawn"):
            told = f"{row['generation'][:SHOWN]} {row['state']}: {row['reason']}"
            console.print(told, highlight=False, markup=False, soft_wrap=True)


@app.command()
def diff(old: Name, new: Name, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Compare two generations: models, settings, memory, agreement with it, and answers.

    Example: `aela generations diff 1a2b 3c4d`
    """
    from aela.mimicry.difference import difference

    where = Home.at(home)
    found = difference(where, generations.find(where, old), generations.find(where, new))
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    before, after = found.old, found.new
    lines = [
        f"[bold]{before.sha[:SHOWN]}[/] ({before.created[:16]}) → "
        f"[bold]{after.sha[:SHOWN]}[/] ({after.created[:16]})",
        "The same models." if not found.checkpoints else "Models",
        *(f"  {m}: {a[:SHOWN]} → {b[:SHOWN]}" for m, (a, b) in found.checkpoints.items()),
        *(f"  {name}: {a} → {b}" for name, (a, b) in found.settings.items()),
        f"Silent above {before.threshold:.3f} → {after.threshold:.3f}",
        *_memory(found.added, found.removed, found.recaptured),
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    if comparison := found.comparison:
        console.print(
            f"Agreement on {comparison.moments} moments that both learned from: "
            f"{comparison.old.share:.3f} → {comparison.new.share:.3f} "
            f"({comparison.tolerance:.3f} less is tolerated)",
            highlight=False,
            soft_wrap=True,
        )
        shares = comparison.old.videos, comparison.new.videos
        changes = {video: shares[1][video] - shares[0][video] for video in shares[0]}
        table = Table("video", "before", "after", "change", box=SIMPLE)
        for video in sorted(changes, key=lambda v: -abs(changes[v]))[:MOST_VIDEOS]:
            values = (f"{share[video]:.3f}" for share in shares)
            table.add_row(video, *values, f"{changes[video]:+.3f}")
        console.print(table, highlight=False)
    else:
        console.print("They share no moments of two different words.", highlight=False)
    table = Table("watched", "looks", "other answers", "the first", box=SIMPLE)
    most = sorted(found.answers, key=lambda video: -found.answers[video].changed)
    for video in most[:MOST_VIDEOS]:
        answers, first = found.answers[video], ""
        if answers.first:
            time_s, *both = answers.first
            said = (
                f"as in {without_hash(word[0])} at {word[1]:.1f} s" if word else "silent"
                for word in both
            )
            first = f"{time_s:.1f} s: " + " → ".join(said)
        table.add_row(video, str(answers.looks), str(answers.changed), first)
    if most:
        console.print(table, highlight=False)
    else:
        console.print("They watched no video in common.", highlight=False)


@app.command()
def rollback(
    generation: Annotated[
        str | None,
        typer.Argument(help="The one to go back to; without it the parent of the one that speaks."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Withdraw the generation that speaks, and have its parent or another one speak again.

    Watched videos with its predictions are current again, others are watched anew, and the next
    training starts from it. The one withdrawn is kept; one that was refused may speak so, too.

    Example: `aela generations rollback`
    """
    from aela_dagster.runs import Runner

    where = Home.at(home)
    leaving = generations.required(where)
    instance = Runner.at(where).instance
    back = generations.roll_back(where, generations.find(where, generation) if generation else None)
    # Dagster's record of what the asset is now follows.
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "generation",
            description=f"Rolled back from {leaving.sha}.",
            metadata=generation_metadata(where, back),
            tags={DATA_VERSION_TAG: back.sha},
        )
    )
    console.print(
        f"{back.sha[:SHOWN]} speaks again; {leaving.sha[:SHOWN]} is withdrawn.", highlight=False
    )


def _row(home: Home, generation: Generation) -> dict[str, Any]:
    speaks = generations.current(home)
    events = generations.history(home, generation.sha)
    measured = [event.figures for event in events if event.figures]
    manifest = manifests.read(home, generation.manifest)
    return {
        "generation": generation.sha,
        "created": generation.created,
        "speaks": bool(speaks and speaks.sha == generation.sha),
        "videos": len(manifest.entries),
        "frames": manifest.frames,
        "clips": manifest.clips,
        "figures": asdict(measured[-1]) if measured else None,
        "state": generations.state(home, generation),
        "reason": events[-1].reason if events else "",
        "parent": generation.parent,
        "history": [asdict(event) for event in events],
    }


def _figures(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return "–"
    before = "" if figures["before"] is None else f" ({figures['before']:.3f})"
    return f"{figures['agreement']:.3f}{before}"


def _memory(added: list[str], removed: list[str], recaptured: list[str]) -> Iterator[str]:
    if not (added or removed or recaptured):
        yield "The same memory."
        return
    yield "Memory"
    for what, keys in (("added", added), ("removed", removed), ("captured anew", recaptured)):
        if keys:
            more = f" and {len(keys) - MOST_VIDEOS} more" if len(keys) > MOST_VIDEOS else ""
            yield f"  {len(keys)} {what}: {', '.join(keys[:MOST_VIDEOS])}{more}"
