"""Embeddings of memory: one Parquet file per checkpoint and video.

Those of frames and clips are row for row with the memory. Those of the ground, of what is seen
beside the things in the frames, are as many as the encoder makes of a video.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import Entry, Manifest
from aela.storage import Home, atomic, open_parquet

Sense = Literal["frame", "clip", "ground"]
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
        embed: maps a table of frames (also for the ground) or clips to float32 [rows, d].
        progress: told each video and its number of rows.
    """
    new = 0
    for entry in manifest.entries:
        path = _path(home, checkpoint, entry.video, sense)
        if not _rows(entry, sense) or _content(path) == entry.content:
            continue
        read = store.read_clips if sense == "clip" else store.read_frames
        values = embed(read(home, entry.video))
        write(home, checkpoint, entry.video, entry.content, values, sense)
        new += len(values)
        progress(entry.video, len(values))
    return new


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
    with open_parquet(_path(home, checkpoint, video, sense)) as file:
        column = pq.read_table(file, page_checksum_verification=True)["embedding"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size).copy()


def gather(
    home: Home, checkpoint: str, manifest: Manifest, sense: Sense
) -> tuple[np.ndarray, dict[str, int]]:
    """All embeddings of a manifest [rows, d], and each video's first row among them.

    Raises:
        ChangedMemory: one of its videos was forgotten.
    """
    parts, offsets, row = [], {}, 0
    for entry in manifest.entries:
        manifests.check(home, entry)
        if _rows(entry, sense):
            parts.append(read(home, checkpoint, entry.video, sense))
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


def _content(path: UPath) -> str | None:
    if not path.exists():
        return None
    with open_parquet(path, row_groups=[]) as file:
        metadata = pq.read_schema(file).metadata or {}
    return metadata.get(b"content", b"").decode()
