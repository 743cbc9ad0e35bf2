"""`aela memory`: list, show, export, verify and forget what is remembered."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from aela.memory import export as exporting
from aela.memory import forget as forgetting
from aela.memory import store, videos
from aela.memory.store import Remembered
from aela.memory.videos import UnknownVideo
from aela.storage import Home
from aela_dagster.options import HomeOption, existing

SHOWN_FRAMES = 60  # on a contact sheet, spread evenly

app = typer.Typer(help="Look after what is remembered.", no_args_is_help=True)
console = Console()

Keys = Annotated[list[str], typer.Argument(help="Videos, by key or the start of one.")]


@app.command()
def ls(
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List all videos: what is remembered of each, and what was left out.

    Example: `aela memory ls`
    """
    where = existing(home)
    listed = _listed(where)
    numbers = ("frames", "clips", "clip_seconds")
    totals = {
        "videos": len(listed),
        **{n: round(sum(row[n] for row in listed), 3) for n in numbers},
    }
    gone = list(forgetting.all_forgotten(where).values())
    if as_json:
        print(
            json.dumps(
                {"videos": listed, "totals": totals, "forgotten": [asdict(g) for g in gone]},
                indent=1,
            )
        )
        return
    names = ("video", "role", "frames", "clips", "seconds", "added")
    columns = [Column(name, no_wrap=True) for name in names]
    table = Table(*columns, "left out", box=SIMPLE, padding=(0, 1, 0, 0))
    for row in listed:
        table.add_row(
            row["video"],
            ", ".join(row["roles"]),
            *([str(row["frames"]), str(row["clips"])] if row["ingested"] else ["–", "–"]),
            f"{row['clip_seconds']:.1f}",
            row["added"][:10],
            store.left_out(row["frame_rejections"], row["clip_rejections"]),
        )
    console.print(table, highlight=False)
    console.print(
        f"{totals['videos']} videos, {totals['frames']} frames, {totals['clips']} clips, "
        f"{totals['clip_seconds']:.1f} s of clips" + (f"; {len(gone)} forgotten" if gone else ""),
        highlight=False,
    )


@app.command()
def show(
    video: Annotated[str, typer.Argument(help="A video's key, or the start of it.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder to write to; without it a temporary one.")
    ] = None,
    look: Annotated[bool, typer.Option("--open", help="Open the contact sheet, too.")] = False,
    home: HomeOption = None,
) -> None:
    """Write a contact sheet and the sounds of a video, and print what is known of it.

    Example: `aela memory show kitchen --open`
    """
    from aela.evaluation import pictures

    where = existing(home)
    entry = _entry(where, forgetting.find(where, video))
    folder = to or Path(tempfile.mkdtemp(prefix=f"aela-{entry.video}-"))
    folder.mkdir(parents=True, exist_ok=True)
    record = videos.find(where, entry.video)
    console.print(
        f"[bold]{entry.video}[/] ({', '.join(record.roles)}), taken in {record.added[:16]} as "
        f"{escape(', '.join(record.names))}: {entry.frames} frames, {entry.clips} clips",
        highlight=False,
        soft_wrap=True,
    )
    if entry.frames:
        rows = pictures.evenly(entry.frames, SHOWN_FRAMES)
        frames = store.read_rows(where, entry.video, "frame", rows, ["time_s", "jpeg"])
        times = [f"{time_s:.1f} s" for time_s in frames["time_s"].to_pylist()]
        sheet = folder / "contact_sheet.jpg"
        sheet.write_bytes(pictures.large_contact_sheet(frames["jpeg"].to_pylist(), times))
        console.print(f"{len(rows)} frames on {sheet}", highlight=False, soft_wrap=True)
        if look:
            typer.launch(str(sheet))
    if entry.clips:
        table = Table("clip", "from", "to", "level", "above noise", "sound")
        for number, clip in enumerate(store.each(where, entry.video, "clip")):
            sound = exporting.write_clip(clip, number, folder)
            table.add_row(
                str(number),
                f"{clip['start_s']:.2f} s",
                f"{clip['end_s']:.2f} s",
                f"{clip['level_db']:.0f} dB",
                f"{clip['snr_db']:.0f} dB",
                sound.name,
            )
        console.print(table, highlight=False)
        console.print(f"{entry.clips} sounds in {folder}", highlight=False, soft_wrap=True)
    rejections = store.read_rejections(where, entry.video).to_pylist()
    if rejections:
        table = Table("left out", "from", "to", "because", "measured")
        for row in rejections:
            times = (f"{row[name]:.2f} s" for name in ("start_s", "end_s"))
            table.add_row(row["sense"], *times, row["reason"], f"{row['value']:.3g}")
        console.print(table, highlight=False)


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="A new or empty folder.")],
    video: Annotated[
        list[str] | None, typer.Argument(help="Videos, by key or the start of one; all if none.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Write frames as JPEG and clips as WAV files into plain folders, with an index as CSV.

    Example: `aela memory export kitchen --to kitchen-files`
    """
    where = existing(home)
    if video:
        entries = [_entry(where, forgetting.find(where, name)) for name in dict.fromkeys(video)]
    else:
        entries = store.remembered(where)
    written = exporting.export(where, entries, to, lambda name: console.print(f"  {name}"))
    console.print(f"{written} files and index.csv in {to}", highlight=False, soft_wrap=True)


@app.command()
def verify(home: HomeOption = None) -> None:
    """Recompute every hash, and say what is wrong, missing or half-written.

    Example: `aela memory verify`
    """
    from aela.mimicry import verify as verifying

    kinds = verifying.kinds(existing(home))
    everything = [(kind, thing) for kind in kinds for thing in kind.things]
    wrong = {kind.name: 0 for kind in kinds}
    problems: list[str] = []
    bar = Console(stderr=True)
    for kind, thing in track(everything, "Verifying", console=bar, transient=True):
        found = kind.problems(thing)
        wrong[kind.name] += bool(found)
        problems += found
    table = Table("what", "checked", "wrong")
    for kind in kinds:
        table.add_row(kind.name, str(len(kind.things)), str(wrong[kind.name]))
    console.print(table, highlight=False)
    for problem in problems:
        console.print(problem, highlight=False, markup=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


@app.command()
def forget(
    video: Keys,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: HomeOption = None,
) -> None:
    """Forget videos for good: file, frames, clips, embeddings and predictions go.

    What learned from them is marked, goes on speaking without them, and is trained anew by the
    sensors or by `aela learn`. An interrupted forgetting is finished by running it again.

    Example: `aela memory forget kitchen-1a2b3c4d`
    """
    where = existing(home)
    keys = list(dict.fromkeys(forgetting.find(where, name) for name in video))
    if not yes:
        console.print(f"This cannot be undone: {', '.join(keys)}", highlight=False, soft_wrap=True)
        typer.confirm("Forget them, file included?", abort=True)

    from aela_dagster.runs import Runner

    runner = Runner.at(where)
    for key in keys:
        runner.ready_to_forget(key)
        with console.status(f"Forgetting {key} …"):
            record = forgetting.forget(where, key)
            runner.forget(key)
        marked = sum(len(shas) for shas in record.checkpoints.values())
        console.print(
            f"{key} is forgotten. Marked as having learned from it: checkpoints {marked}, "
            f"generations {len(record.generations)}. Predictions of other videos that lean on it "
            f"and stay: {sum(record.leaning.values())}.",
            highlight=False,
            soft_wrap=True,
        )


def _entry(home: Home, key: str) -> Remembered:
    """What memory holds of a video.

    Raises:
        UnknownVideo: it was not ingested, or was forgotten.
    """
    if entry := store.entry(home, key):
        return entry
    if record := forgetting.all_forgotten(home).get(key):
        raise UnknownVideo(f"{key} was forgotten on {record.forgotten}.")
    raise UnknownVideo(f"{key} was not ingested yet; run `aela up`, or `aela learn` its file.")


def _listed(home: Home) -> list[dict[str, Any]]:
    """A row for each known video, oldest first."""
    entries = {entry.video: entry for entry in store.remembered(home)}
    listed = []
    for video in videos.known(home):
        entry = entries.get(video.video)
        seconds = 0.0
        if entry and entry.clips:
            clips = store.read_clips(home, video.video, ["start_s", "end_s"]).to_pylist()
            seconds = sum(clip["end_s"] - clip["start_s"] for clip in clips)
        listed.append(
            {
                "video": video.video,
                "names": list(video.names),
                "roles": list(video.roles),
                "added": video.added,
                "ingested": entry is not None,
                "frames": entry.frames if entry else 0,
                "clips": entry.clips if entry else 0,
                "clip_seconds": round(seconds, 3),
                "frame_rejections": entry.frame_rejections if entry else {},
                "clip_rejections": entry.clip_rejections if entry else {},
            }
        )
    return listed
