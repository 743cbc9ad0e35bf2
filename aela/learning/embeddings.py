"""Embeddings of memory: one Parquet file per checkpoint and video.

Those of frames and clips are row for row with the memory. Those of the ground, of what is seen
beside the things in the frames, are as many as the encoder makes of GROUND_FRAMES.

A checkpoint that goes on from a parent need not embed all of memory anew: what it has not embedded
yet, it takes over from the parent, in whose space its own embeddings lie. One small file beside the
tables says of which videos. That is settled once: what trains and speaks by a checkpoint finds the
same embeddings whenever it looks.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import Entry, Manifest
from aela.storage import Home, atomic, open_parquet, read_json, read_parquet, write_json

Sense = Literal["frame", "clip", "ground"]
REFRESHED = 100  # rows that are embedded anew in a round, though they could be taken over
GROUND_FRAMES = 32  # of a video, spread evenly, that are looked at for what lies beside the things
Embed = Callable[[pa.Table], np.ndarray]


class TakenOver(NamedTuple):
    """Whose embeddings of a video's rows stand in for a checkpoint's own, for how many rounds."""

    checkpoint: str
    content: str
    rounds: int


def refresh(
    home: Home,
    checkpoint: str,
    manifest: Manifest,
    sense: Sense,
    embed: Embed,
    progress: Callable[[str, int], None] = lambda video, rows: None,
    *,
    parent: str | None = None,
    most: int | None = None,
) -> int:
    """Embed what is not embedded yet by `checkpoint`; returns the number of new rows.

    What stands for videos that the manifest does not name stays.

    Args:
        embed: maps a table of some frames (also for the ground) or clips of a video to float32
            [rows, d]; each row is the same whatever others there are.
        progress: told each video and its number of rows.
        parent: the checkpoint whose embeddings are taken over, where it has any.
        most: rows to embed anew of what could be taken over, those that have been taken over for
            the most rounds first; None for all. A video with more rows has its turn when it has
            waited for as many rounds as its rows take. What was taken over already stays so unless
            None.

    Raises:
        ChangedMemory: what is to be embedded was forgotten or captured anew meanwhile.
    """
    new = 0
    inherited = _taken_over(home, parent, sense) if parent else {}
    before = _taken_over(home, checkpoint, sense)
    named = {entry.video for entry in manifest.entries}
    taken = {video: source for video, source in before.items() if video not in named}
    could_be_taken: list[tuple[TakenOver, Entry]] = []
    for entry in manifest.entries:
        if not _rows(entry, sense) or _is_of(home, checkpoint, entry, sense):
            continue
        settled = before.get(entry.video) if most is not None else None
        if settled and settled.content == entry.content:
            taken[entry.video] = settled
            continue
        source = inherited.get(entry.video)
        if source is None and parent and _is_of(home, parent, entry, sense):
            source = TakenOver(parent, entry.content, 0)
        if source and source.content == entry.content:
            could_be_taken.append((source, entry))
        else:
            new += _embed(home, checkpoint, entry, sense, embed, progress)
    budget = left = math.inf if most is None else most
    for source, entry in sorted(could_be_taken, key=lambda item: -item[0].rounds):
        rows = _rows(entry, sense)
        if rows <= left or (left == budget and rows <= budget * (source.rounds + 1)):
            new += _embed(home, checkpoint, entry, sense, embed, progress)
            left = max(0, left - rows)
        else:
            taken[entry.video] = source._replace(rounds=source.rounds + 1)
    if taken != before:
        path = home.taken_over(checkpoint)
        kinds = read_json(path) if path.exists() else {}
        write_json(path, {**kinds, _kind(sense): taken})
    return new


def _embed(
    home: Home,
    checkpoint: str,
    entry: Entry,
    sense: Sense,
    embed: Embed,
    progress: Callable[[str, int], None],
) -> int:
    manifests.check(home, entry)
    if sense == "ground":
        number = min(entry.frames, GROUND_FRAMES)
        rows = np.linspace(0, entry.frames - 1, number, dtype=int).tolist()
        values = embed(store.read_rows(home, entry.video, "frame", rows))
    else:
        values = np.concatenate([embed(some) for some in store.in_parts(home, entry.video, sense)])
    write(home, checkpoint, entry.video, entry.content, values, sense)
    if manifests.forgotten(home, entry.video):  # meanwhile
        _path(home, checkpoint, entry.video, sense).unlink(missing_ok=True)
    progress(entry.video, len(values))
    return len(values)


def write(
    home: Home,
    checkpoint: str,
    video: str,
    content: str,
    values: np.ndarray,
    sense: Sense = "frame",
) -> None:
    """Write float32 [rows, d]; `content` is the hash of the memory rows they were made from."""
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel()), values.shape[1]
    )
    table = pa.table({"embedding": column}).replace_schema_metadata({"content": content})
    with atomic(_path(home, checkpoint, video, sense)) as file:
        pq.write_table(table, file, write_page_checksum=True)


def read(home: Home, checkpoint: str, video: str, sense: Sense = "frame") -> np.ndarray:
    """float32 [rows, d] of one video, in the order of its memory rows."""
    taken = _taken_over(home, checkpoint, sense)
    source = _whose(taken, video, checkpoint)
    return _read(_path(home, source, video, sense))


def find(
    home: Home, checkpoint: str, entries: Iterable[Entry], sense: Sense = "frame"
) -> Iterator[np.ndarray | None]:
    """The same of each entry of a manifest; None where its rows were never embedded."""
    taken = _taken_over(home, checkpoint, sense)
    for entry in entries:
        source = _whose(taken, entry.video, checkpoint)
        there = _is_of(home, source, entry, sense)
        yield _read(_path(home, source, entry.video, sense)) if there else None


def _read(path: UPath) -> np.ndarray:
    column = read_parquet(path)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size).copy()


def gather(
    home: Home, checkpoint: str, manifest: Manifest, sense: Sense
) -> tuple[np.ndarray, dict[str, int]]:
    """All embeddings of a manifest [rows, d], and each video's first row among them.

    Raises:
        ChangedMemory: one of its videos was forgotten.
    """
    parts, offsets, row = [], {}, 0
    taken = _taken_over(home, checkpoint, sense)
    for entry in manifest.entries:
        manifests.check(home, entry)
        if _rows(entry, sense):
            source = _whose(taken, entry.video, checkpoint)
            parts.append(_read(_path(home, source, entry.video, sense)))
            offsets[entry.video] = row
            row += len(parts[-1])
    if not parts:
        return np.zeros((0, 0), np.float32), {}
    return np.concatenate(parts), offsets


def unit(values: np.ndarray) -> np.ndarray:
    """Rows of [n, d] scaled to length 1, so that products are cosines; zeros stay zeros."""
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)


def _rows(entry: Entry, sense: Sense) -> int:
    return entry.clips if sense == "clip" else entry.frames


def _path(home: Home, checkpoint: str, video: str, sense: Sense) -> UPath:
    of = home.ground if sense == "ground" else home.embeddings
    return of(checkpoint, video)


def _kind(sense: Sense) -> str:
    return "ground" if sense == "ground" else "memory"


def _taken_over(home: Home, checkpoint: str, sense: Sense) -> dict[str, TakenOver]:
    """By video, whose embeddings stand for those of a checkpoint."""
    path = home.taken_over(checkpoint)
    if not path.exists():
        return {}
    return {v: TakenOver(*source) for v, source in read_json(path).get(_kind(sense), {}).items()}


def _whose(taken: dict[str, TakenOver], video: str, checkpoint: str) -> str:
    return taken[video].checkpoint if video in taken else checkpoint


def _is_of(home: Home, checkpoint: str, entry: Entry, sense: Sense) -> bool:
    """Whether the checkpoint itself has embedded these rows."""
    path = _path(home, checkpoint, entry.video, sense)
    if not path.exists():
        return False
    with open_parquet(path, row_groups=[]) as file:
        metadata = pq.read_schema(file).metadata or {}
    return metadata.get(b"content", b"").decode() == entry.content
