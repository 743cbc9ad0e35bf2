"""The manifest: the exact list of what a training run saw. Its hash is the memory's version."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow as pa

from aela.memory import bounded, store, videos
from aela.storage import Home, canonical_json, read_json, sha256, write_bytes, write_json


class UnknownManifest(LookupError):
    """No such manifest in this home."""


class EmptyMemory(ValueError):
    """Memory holds too little to train on."""


class ChangedMemory(RuntimeError):
    """Memory no longer holds the rows that a manifest names."""


@dataclass(frozen=True)
class Entry:
    """One video: `content` is the hash of its rows, `frames` and `clips` their numbers."""

    video: str
    content: str
    frames: int
    clips: int


@dataclass(frozen=True)
class Manifest:
    """Entries sorted by video."""

    entries: tuple[Entry, ...]

    @cached_property
    def sha(self) -> str:
        return sha256(canonical_json([vars(entry) for entry in self.entries]))

    @property
    def frames(self) -> int:
        return sum(entry.frames for entry in self.entries)

    @property
    def clips(self) -> int:
        return sum(entry.clips for entry in self.entries)

    @property
    def named(self) -> "Manifest":
        """The videos in which something was said: what is seen in others has no name."""
        return Manifest(tuple(entry for entry in self.entries if entry.clips))


def remembered(home: Home) -> Manifest:
    """The manifest of everything that lies on disk of `learn` videos now.

    Only what is new in memory is read for it (`aela.memory.catalogue`).
    """
    found = store.remembered(home, role="learn")
    return Manifest(tuple(Entry(e.video, e.content, e.frames, e.clips) for e in found))


def within_bounds(home: Home, everything: Manifest) -> Manifest:
    """What of it is kept where memory is bounded (`aela.memory.bounded`); else all."""
    frames, clips = bounded.bounds()
    if min(frames, clips) == math.inf:
        return everything
    of = {entry.video: entry for entry in everything.entries}
    order = [v.video for v in reversed(videos.known(home, "learn")) if v.video in of]
    kept = bounded.kept([of[video] for video in order], frames, clips)
    return Manifest(tuple(sorted(kept, key=lambda entry: entry.video)))


def of_now(home: Home) -> Manifest:
    """The manifest of everything that memory holds of `learn` videos now, within its bounds."""
    return within_bounds(home, remembered(home))


def take(home: Home) -> Manifest:
    """The manifest of now, written down to be trained on."""
    manifest = of_now(home)
    write(home, manifest)
    return manifest


def write(home: Home, manifest: Manifest) -> None:
    """Write a manifest down to be trained on; an existing one is kept."""
    path = home.manifest(manifest.sha)
    if not path.exists():
        write_json(path, [vars(entry) for entry in manifest.entries])


def set_current(home: Home, manifest: Manifest) -> None:
    """Make this the manifest that is trained on, so that all models see the same memory."""
    write_bytes(home.current_manifest, manifest.sha.encode())


def current(home: Home) -> Manifest:
    """The manifest that is trained on.

    Raises:
        UnknownManifest: none was taken yet.
    """
    pointer = home.current_manifest
    if not pointer.exists():
        raise UnknownManifest(
            f"No manifest was taken yet in {home.root}; materialize the asset memory first."
        )
    return read(home, pointer.read_text())


def read(home: Home, sha: str) -> Manifest:
    """
    Raises:
        UnknownManifest: there is none of that hash.
    """
    path = home.manifest(sha)
    if not path.exists():
        raise UnknownManifest(f"There is no manifest {sha} in {home.root}.")
    return Manifest(tuple(Entry(**entry) for entry in read_json(path)))


def forgotten(home: Home, video: str) -> bool:
    """Whether a video was forgotten on purpose; its key is never given again."""
    return (home.forgotten / f"{video}.json").exists()


def remaining(home: Home, manifest: Manifest) -> Manifest:
    """The manifest without the videos that were forgotten: what may still be shown of it."""
    gone = {path.stem for path in home.forgotten.glob("*.json")}
    return Manifest(tuple(entry for entry in manifest.entries if entry.video not in gone))


def state(home: Home, entry: Entry) -> Literal["remembered", "forgotten", "captured anew"]:
    """What became of the rows that an entry names."""
    if store.content(home, entry.video) == entry.content:
        return "remembered"
    return "forgotten" if forgotten(home, entry.video) else "captured anew"


def check(home: Home, entry: Entry) -> None:
    """
    Raises:
        ChangedMemory: memory holds other rows of a video than the entry names, or none any more.
    """
    if (happened := state(home, entry)) != "remembered":
        raise ChangedMemory(
            f"{entry.video} was {happened} since this was learned; run the job `learn`."
        )


def by_video(
    entries: Sequence[Entry], sense: Literal["frame", "clip"], rows: np.ndarray
) -> list[tuple[Entry, np.ndarray]]:
    """Rows numbered through all entries, int [n] rising, as the rows of each that has any."""
    counts = np.array([e.frames if sense == "frame" else e.clips for e in entries], int)
    ends = np.cumsum(counts)
    of = np.searchsorted(ends, rows, side="right")
    return [
        (entries[number], rows[of == number] - (ends[number] - counts[number]))
        for number in np.unique(of)
    ]


def rows(
    home: Home,
    manifest: Manifest,
    sense: Literal["frame", "clip"],
    columns: list[str] | None = None,
) -> Iterator[tuple[str, pa.Table]]:
    """`(video, its frames or clips)` for each entry that has any, in the manifest's order.

    Raises:
        ChangedMemory: memory holds other rows of a video than the manifest names, or none any more.
    """
    for entry in manifest.entries:
        check(home, entry)
        if sense == "frame" and entry.frames:
            yield entry.video, store.read_frames(home, entry.video, columns)
        if sense == "clip" and entry.clips:
            yield entry.video, store.read_clips(home, entry.video, columns)
