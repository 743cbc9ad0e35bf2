"""Embeddings of memory: one Parquet file per checkpoint and video, row for row with the memory."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from aela.memory import store
from aela.memory.manifest import Manifest
from aela.storage import Home, atomic

Sense = Literal["frame", "clip"]
Embed = Callable[[pa.Table], np.ndarray]


def refresh(
    home: Home,
    checkpoint: str,
    manifest: Manifest,
    sense: Sense,
    embed: Embed,
    progress: Callable[[str, int], None] = lambda video, rows: None,
) -> int:
    """Embed what is not embedded yet by `checkpoint`; returns the number of new rows.

    Args:
        embed: maps a table of frames or clips to float32 [rows, d].
        progress: told each video and its number of rows.
    """
    new = 0
    for entry in manifest.entries:
        rows = entry.frames if sense == "frame" else entry.clips
        path = home.embeddings(checkpoint, entry.video)
        if not rows or _content(path) == entry.content:
            continue
        read = store.read_frames if sense == "frame" else store.read_clips
        write(home, checkpoint, entry.video, entry.content, embed(read(home, entry.video)))
        new += rows
        progress(entry.video, rows)
    return new


def write(home: Home, checkpoint: str, video: str, content: str, values: np.ndarray) -> None:
    """Write float32 [rows, d]; `content` is the hash of the memory rows they were made from."""
    column = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel()), values.shape[1]
    )
    table = pa.table({"embedding": column}).replace_schema_metadata({"content": content})
    with atomic(home.embeddings(checkpoint, video)) as file:
        pq.write_table(table, file)


def read(home: Home, checkpoint: str, video: str) -> np.ndarray:
    """float32 [rows, d] of one video, in the order of its memory rows."""
    with home.embeddings(checkpoint, video).open("rb") as file:
        column = pq.read_table(file)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1).copy()


def gather(
    home: Home, checkpoint: str, manifest: Manifest, sense: Sense
) -> tuple[np.ndarray, dict[str, int]]:
    """All embeddings of a manifest [rows, d], and each video's first row among them."""
    parts, offsets, row = [], {}, 0
    for entry in manifest.entries:
        if entry.frames if sense == "frame" else entry.clips:
            parts.append(read(home, checkpoint, entry.video))
            offsets[entry.video] = row
            row += len(parts[-1])
    if not parts:
        return np.zeros((0, 0), np.float32), {}
    return np.concatenate(parts), offsets


def _content(path: UPath) -> str | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        metadata = pq.read_schema(file).metadata or {}
    return metadata.get(b"content", b"").decode()
