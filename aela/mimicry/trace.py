"""The way back: from one prediction to the generation, checkpoints and moments it leans on."""

from dataclasses import dataclass
from typing import Any

from upath import UPath

from aela.learning import checkpoints
from aela.learning.checkpoints import MODELS, Checkpoint
from aela.memory import manifest as manifests
from aela.memory.forget import all_forgotten
from aela.memory.manifest import Manifest
from aela.mimicry import generation as generations
from aela.mimicry import lineage
from aela.mimicry.generation import Generation
from aela.mimicry.lineage import Origins
from aela.mimicry.predict import read_predictions
from aela.storage import Home, starting

NEAR_S = 5.0  # a prediction is that near to a time for which it is asked, at the ends of a video


class UnknownPrediction(LookupError):
    """No such prediction in this home."""


@dataclass(frozen=True)
class Trace:
    """One prediction and all it was learned from.

    Attributes:
        row: the prediction, with the columns of `PREDICTIONS`.
        generation: that made it; before: those that spoke before, newest first.
        checkpoints: of the generation, by model; origins: these and all they were trained from.
        manifest: what the generation remembers.
        forgotten: of all videos learned from, those that were forgotten since, and when.
    """

    video: str
    row: dict[str, Any]
    generation: Generation
    before: list[Generation]
    checkpoints: dict[str, Checkpoint]
    origins: Origins
    manifest: Manifest
    forgotten: dict[str, str]


def watched(home: Home) -> dict[str, list[UPath]]:
    """The prediction tables of each video, oldest first."""
    folder = home.all_predictions
    if not folder.exists():
        return {}
    tables = {
        path.name: sorted(path.glob("*.parquet"), key=lambda file: file.stat().st_mtime)
        for path in folder.iterdir()
    }
    return {video: files for video, files in sorted(tables.items()) if files}


def trace(home: Home, prediction: str) -> Trace:
    """Follow the prediction `VIDEO@SECONDS` back.

    Args:
        prediction: a video's key, or the start of one, then `@` and a time in seconds; the
            prediction nearest to it by the newest table is meant.

    Raises:
        UnknownPrediction: there is none of that name; the message says which there are.
    """
    name, _, time = prediction.rpartition("@")
    tables = watched(home)
    videos = starting(name, tables)
    try:
        seconds = float(time)
    except ValueError:
        videos = []
        seconds = 0.0
    gone = {video: record.forgotten for video, record in all_forgotten(home).items()}
    if not videos and name in gone:
        raise UnknownPrediction(
            f"{name} was forgotten on {gone[name]}, and what was predicted for it with it."
        )
    if len(videos) != 1:
        known = ", ".join(tables) or "no video yet: run `aela watch VIDEO` first"
        raise UnknownPrediction(
            f"{prediction!r} names no single prediction; write VIDEO@SECONDS, for instance "
            f"{next(iter(tables), 'VIDEO')}@3.5. There are predictions for {known}."
        )
    [video] = videos
    speaking = generations.current(home)
    spoken = [path for path in tables[video] if speaking and path.stem == speaking.sha]
    path = (spoken or tables[video])[-1]
    rows = read_predictions(home, video, path.stem).to_pylist()
    if not rows:
        raise UnknownPrediction(f"{video} has no sharp frame, so nothing was predicted for it.")
    first, last = rows[0]["time_s"], rows[-1]["time_s"]
    if not first - NEAR_S <= seconds <= last + NEAR_S:
        raise UnknownPrediction(f"{video} was looked at from {first:.1f} s to {last:.1f} s.")
    row = min(rows, key=lambda row: abs(row["time_s"] - seconds))
    generation = generations.read(home, row["generation"])
    origins = lineage.origins_of(home, generation)
    return Trace(
        video,
        row,
        generation,
        lineage.spoke_before(home, generation),
        {model: checkpoints.read(home, model, row[model]) for model in MODELS},
        origins,
        manifests.read(home, row["manifest"]),
        {entry.video: gone[entry.video] for entry in origins.entries if entry.video in gone},
    )
