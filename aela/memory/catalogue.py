"""What folders of many small JSON files say, without opening the files one by one.

Records and index entries are written under a temporary name and renamed, never changed in place: a
file that is listed with the same stamp (size, time, inode; in object stores the ETag) says what it
said before. So reading ten thousand of them costs one listing, plus opening those that are new.

What was read is held in this process, and now and then written to a snapshot in the home, from
which the next process starts. The snapshot is no source of truth: an entry counts only while its
file is listed with the same stamp. It can be deleted at any time; several processes may write it,
each the whole of it, and the last one wins.
"""

import contextlib
import json
import os
from typing import Any

from upath import UPath

from aela.storage import Home, read_json, write_bytes

ENDING = ".json"
STAMP = ("size", "mtime", "ino", "ETag", "LastModified")  # as file systems name them
# Entries that a snapshot may lack before it is written anew: so many, or this share of all. Writing
# it for each new video would cost more the more there are.
MOST_MISSING = 64
MOST_MISSING_SHARE = 0.02

Entries = dict[str, tuple[str, Any]]  # by stem: the stamp of the file, and what it says
_held: dict[str, tuple[Entries, int]] = {}  # by folder; and how many of them no snapshot has


def listing(folder: UPath) -> list[dict[str, Any]]:
    """What a folder holds, as its file system describes it; nothing if there is no such folder."""
    try:
        return folder.fs.ls(folder.path, detail=True, refresh=True)
    except (FileNotFoundError, NotADirectoryError):
        return []


def names(folder: UPath) -> list[str]:
    """The stems of the JSON files in a folder, in no order."""
    try:
        if folder.protocol:
            paths = folder.fs.ls(folder.path, detail=False, refresh=True)
        else:
            paths = os.listdir(str(folder))  # noqa: PTH208  (fsspec would look at each file)
    except FileNotFoundError:
        return []
    return [stem for path in paths if (stem := _stem(path))]


def read(home: Home, folder: UPath) -> dict[str, Any]:
    """What the JSON files in a folder of the home say, by stem. The values are not to be changed.

    Raises:
        ValueError: a file is damaged.
    """
    paths, stamps = {}, {}
    for info in listing(folder):
        if stem := _stem(info["name"]):
            paths[stem] = info["name"]
            stamps[stem] = " ".join(str(info[key]) for key in STAMP if key in info)
    snapshot = home.catalogue / f"{folder.name}{ENDING}"
    before, missing = _held.get(str(folder)) or (_loaded(snapshot), 0)
    entries = {s: e for s, e in before.items() if stamps.get(s) == e[0]}
    new = {stem: path for stem, path in paths.items() if stem not in entries}
    if len(entries) < len(before) or new:
        entries |= {stem: (stamps[stem], value) for stem, value in _opened(folder, new).items()}
        missing += len(new)
        gone = len(before.keys() - entries.keys())
        if gone or missing > MOST_MISSING + MOST_MISSING_SHARE * len(entries):
            with contextlib.suppress(OSError):  # A home that cannot be written to can be read.
                write_bytes(snapshot, json.dumps(entries, separators=(",", ":")).encode())
                missing = 0
        _held[str(folder)] = entries, missing
    return {stem: value for stem, (_, value) in entries.items()}


def forget(home: Home) -> None:
    """Delete the snapshots, which may still name what was deleted elsewhere."""
    _held.clear()
    if home.catalogue.exists():
        for path in home.catalogue.iterdir():
            path.unlink(missing_ok=True)


def _stem(path: str) -> str | None:
    """The stem of a JSON file; None for folders, other files and unfinished ones."""
    name = path.rpartition("/")[2]
    whole = name.endswith(ENDING) and not name.startswith(".")
    return name.removesuffix(ENDING) if whole else None


def _loaded(snapshot: UPath) -> Entries:
    """The entries of a snapshot; none if there is none, or it is damaged."""
    try:
        return {stem: (str(stamp), value) for stem, (stamp, value) in read_json(snapshot).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _opened(folder: UPath, paths: dict[str, str]) -> dict[str, Any]:
    """What these files say, by stem, without those deleted meanwhile."""
    values = {}
    contents = folder.fs.cat_ranges(list(paths.values()), None, None, on_error="return")
    for (stem, path), content in zip(paths.items(), contents, strict=True):
        if isinstance(content, FileNotFoundError):
            continue
        if isinstance(content, Exception):
            raise content
        try:
            values[stem] = json.loads(content)
        except ValueError:
            raise ValueError(
                f"{path} is damaged; restore it from a backup, or delete it and drop its video in "
                "again."
            ) from None
    return values
