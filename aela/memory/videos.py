"""Which videos are known: each one file, one partition key, one role.

A video is taken in by its content: the key is `<stem>-<first 8 hex of its SHA-256>`. The record
`videos/<video>.json` is written before its file is moved or anything is made of it, so that
whatever was interrupted is found again. A video that is dropped for both roles has both.
"""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from upath import UPath

from aela.memory import catalogue
from aela.storage import Home, atomic, read_json, settle, sha256_file, write_bytes, write_json

Role = Literal["learn", "watch"]
ROLES: tuple[Role, ...] = get_args(Role)
HASH_DIGITS = 8
LONGEST_STEM = 80  # bytes: a key with an ending must stay a valid file name
LONGEST_SUFFIX = 9  # with its dot
MOST_NAMES = 100  # kept of one video
BLOCK_BYTES = 1 << 20
HOLES_FROM_BYTES = 16 << 20  # smaller files may look sparse while the disk still gathers them


class UnknownVideo(LookupError):
    """No such video in this home."""


class NotWhole(OSError):
    """A file is still being written; the message says so."""


class NotReadYet(Exception):
    """There was no time to read a file to its end."""


@dataclass(frozen=True)
class Video:
    """One recording. `file` is relative to the home; `names` are those it was dropped under.

    A minute of a live source has no file (None, 0 bytes): `sha256` is then that of its rows.
    """

    video: str
    roles: tuple[Role, ...]
    names: tuple[str, ...]
    file: str | None
    sha256: str
    bytes: int
    added: str


def key(name: str, sha: str) -> str:
    """The partition key of a video: its stem reduced to letters, digits, `.`, `_`, `-`, then hash.

    Partition keys are file names too: nothing in them can leave a folder or start a hidden file.
    """
    stem = unicodedata.normalize("NFKC", Path(name).stem)
    stem = re.sub(r"[^\w.-]+", "_", stem, flags=re.UNICODE)
    stem = stem.encode(errors="ignore")[:LONGEST_STEM].decode(errors="ignore").strip("._-")
    return f"{stem or 'video'}-{sha[:HASH_DIGITS]}"


def without_hash(video: str) -> str:
    """The part of a partition key that a person reads; live minutes have no other."""
    return re.sub(rf"-[0-9a-f]{{{HASH_DIGITS}}}$", "", video)


def take_in(
    home: Home,
    source: UPath,
    role: Role,
    *,
    move: bool,
    hashed: Callable[[UPath], str] = sha256_file,
) -> Video:
    """Bring a file into the home and record it; the same content again is the same video.

    Args:
        move: take the file away from where it lies (the inbox) instead of copying it.
        hashed: reads a file to its end and returns its SHA-256 in hex.

    Raises:
        FileNotFoundError: there is no such file.
        NotWhole: the file was written to while it was read.
        ValueError: the file is empty, or `role` is not one of ROLES.
    """
    if role not in ROLES:
        raise ValueError(f"A video's role is one of {', '.join(ROLES)}, not {role!r}.")
    if not source.is_file():
        raise FileNotFoundError(f"There is no file {source}; give the path of a video.")
    as_it_was, name = _state(source), printable(source.name)
    size = source.stat().st_size
    if size == 0:
        raise ValueError(f"{name!r} is empty (0 bytes); copy it again.")
    sha = hashed(source)
    if _state(source) != as_it_was:
        raise NotWhole(f"{name!r} was written to while it was read; wait until it is whole.")
    video = _key_of(home, sha) or _new_key(home, source.name, sha)
    record = home.videos / f"{video}.json"
    suffix = source.suffix.lower() if re.fullmatch(r"\.\w{1,8}", source.suffix) else ""
    target = home.videos / "files" / f"{video}{suffix}"
    before = find(home, video) if record.exists() else None
    roles: tuple[Role, ...] = tuple(
        known for known in ROLES if known == role or (before and known in before.roles)
    )
    names = tuple(dict.fromkeys((*(before.names if before else ()), name)))[:MOST_NAMES]
    if before and (home.index / f"{video}.json").exists():
        result = replace(before, roles=roles, names=names)
    else:  # New, or dropped once more because it was not ingested yet.
        added = datetime.now(UTC).isoformat()
        file = (before.file if before else None) or home.relative(target)
        result = Video(video, roles, names, file, sha, size, added)
    media = media_of(home, result)
    if not move and not media.exists():  # Copying may take long, and the video is not known before.
        _bring(source, media, move=False)
    if result != before:
        write_json(record, asdict(result))
    if move and not media.exists():  # Moving may be cut short, and what it was is known by then.
        _bring(source, media, move=True)
    elif move:
        source.unlink()
    return result


def printable(name: str) -> str:
    """A file name that can be shown and stored anywhere: what cannot be printed becomes `�`."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)


def mostly_holes(path: UPath) -> bool:
    """Whether most of a large file was never written, as that of an unfinished download."""
    if path.protocol:  # Object stores have no holes.
        return False
    found = Path(str(path)).stat()
    return found.st_size >= HOLES_FROM_BYTES and found.st_blocks * 512 < found.st_size / 2


class PatientHash:
    """SHA-256 of files, read each time only as long as there is time.

    The next call goes on where the last one stopped, if it is for the same unchanged file. So a
    file of any size is hashed without anybody waiting for it; at most one is in the works.
    """

    def __init__(self) -> None:
        self.deadline = 0.0
        """When to stop reading, by time.monotonic()."""
        self._begun: tuple[Any, Any, int] | None = None

    def __call__(self, path: UPath) -> str:
        """The SHA-256 of a file in hex.

        Raises:
            NotReadYet: time is over; at least one more block was read.
        """
        which = (str(path), _state(path))
        digest, offset = hashlib.sha256(), 0
        if self._begun and self._begun[0] == which:
            _, begun, offset = self._begun
            digest = begun.copy()  # A read that fails in the middle leaves what was begun as it is.
        with path.open("rb") as file:
            file.seek(offset)
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                offset += len(block)
                if time.monotonic() > self.deadline and len(block) == BLOCK_BYTES:
                    self._begun = which, digest, offset
                    raise NotReadYet(path)
        return digest.hexdigest()


def _state(path: UPath) -> tuple[float, ...]:
    """What changes when a file is written to or replaced."""
    found = path.stat()
    return (stat.S_IFMT(found.st_mode), found.st_size, found.st_mtime, found.st_ino)


def _new_key(home: Home, name: str, sha: str) -> str:
    """A key that no video has or had: after forgetting, the same file is `<stem>_2-<hash>`."""
    stem, digits = key(name, sha).rsplit("-", 1)
    stems = chain([stem], (f"{stem}_{number}" for number in count(2)))
    keys = (f"{stem}-{digits}" for stem in stems)
    return next(video for video in keys if not (home.forgotten / f"{video}.json").exists())


def _key_of(home: Home, sha: str) -> str | None:
    """The key under which the same content is known already, whatever its name was.

    Not one that was forgotten: what is dropped again after that is another video.
    """
    for video in catalogue.names(home.videos):
        if video.endswith(f"-{sha[:HASH_DIGITS]}"):
            record = home.videos / f"{video}.json"
            if not (home.forgotten / record.name).exists() and _read(record).sha256 == sha:
                return video
    return None


def _bring(source: UPath, target: UPath, *, move: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    local = not source.protocol and not target.protocol
    if move and local and source.stat().st_dev == target.parent.stat().st_dev:
        os.replace(str(source), str(target))  # noqa: PTH105  (UPath.rename is not atomic)
        return
    if not local and source.fs == target.fs:  # The object store copies it by itself.
        source.fs.copy(source.path, target.path)
    else:
        with source.open("rb") as reader, atomic(target) as writer:
            shutil.copyfileobj(reader, writer, BLOCK_BYTES)
    if move:
        settle(target.parent)
        source.unlink()


def make_known(home: Home, video: Video) -> None:
    """Record a video that has no file, once memory holds its rows."""
    write_json(home.videos / f"{video.video}.json", asdict(video))


def find(home: Home, video: str) -> Video:
    """The record of a video.

    Raises:
        UnknownVideo: there is none of that key.
    """
    path = home.videos / f"{video}.json"
    if Path(video).name != video or not path.exists():
        raise UnknownVideo(f"There is no video {video!r} in {home.root}; take it in first.")
    return _read(path)


def known(home: Home, role: Role | None = None) -> list[Video]:
    """All recorded videos, oldest first."""
    records = (_video(values) for values in catalogue.read(home, home.videos).values())
    wanted = (video for video in records if role is None or role in video.roles)
    return sorted(wanted, key=lambda video: (video.added, video.video))


def _read(record: UPath) -> Video:
    return _video(read_json(record))


def _video(values: dict[str, Any]) -> Video:
    rest = {name: value for name, value in values.items() if name not in ("roles", "names", "name")}
    names = values.get("names") or [values["name"]]  # The first homes kept one name.
    return Video(roles=tuple(values["roles"]), names=tuple(names), **rest)


def media_of(home: Home, video: Video) -> UPath:
    """Where the file of a video lies.

    Raises:
        UnknownVideo: it has none.
    """
    if video.file is None:
        raise UnknownVideo(
            f"{video.video} was recorded live: memory has its frames and clips, but no file of it."
        )
    return home.root / video.file


def missing(home: Home, video: str) -> bool:
    """Whether the file of a recorded video is not where it belongs, or not yet."""
    record = find(home, video)
    return record.file is not None and not media_of(home, record).exists()


@contextlib.contextmanager
def local_copy(home: Home, video: Video) -> Iterator[Path]:
    """The video as a local file: itself, or a temporary copy of what lies in an object store.

    Raises:
        UnknownVideo: its file is gone, or it never had one.
    """
    media = media_of(home, video)
    if not media.exists():
        raise UnknownVideo(f"The file of {video.video} is gone from {media}; drop it in again.")
    if not media.protocol:
        yield Path(str(media))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / media.name
        with media.open("rb") as reader, path.open("wb") as writer:
            shutil.copyfileobj(reader, writer, BLOCK_BYTES)
        yield path


def quarantine(home: Home, video: Video, reason: str) -> UPath:
    """Set a video aside that cannot be used; the file is kept beside a text with the reason.

    Taken in again, it is not kept a second time.
    """
    media = media_of(home, video)
    target = home.quarantine / media.name
    if target.exists() and sha256_file(target) == video.sha256:
        media.unlink(missing_ok=True)
    else:
        target = set_aside(home, media, reason)
    (home.videos / f"{video.video}.json").unlink(missing_ok=True)
    return target


def set_aside(home: Home, file: UPath, reason: str) -> UPath:
    """Move a file into quarantine, beside a text with the reason; returns where it lies now.

    Nothing that lies there is overwritten: the second `cup.mp4` becomes `cup_2.mp4`.
    """
    home.quarantine.mkdir(parents=True, exist_ok=True)
    target, text = _free_place(home, file.name)
    try:
        write_bytes(text, f"{reason}\n".encode(errors="replace"))
        if file.exists():
            _bring(file, target, move=True)
    except OSError:
        text.unlink(missing_ok=True)
        raise
    return target


def _free_place(home: Home, name: str) -> tuple[UPath, UPath]:
    """Where a file of that name can lie in quarantine, and its text, which is made: empty."""
    shown = PurePosixPath(printable(name))
    suffix = shown.suffix if len(shown.suffix.encode()) <= LONGEST_SUFFIX else ""
    stem = shown.name.removesuffix(suffix).encode()[:LONGEST_STEM].decode(errors="ignore")
    number = 1
    while True:
        target = home.quarantine / f"{stem}{f'_{number}' if number > 1 else ''}{suffix}"
        text = home.quarantine / f"{target.name}.txt"
        with contextlib.suppress(FileExistsError):
            if not target.exists():
                text.touch(exist_ok=False)
                return target, text
        number += 1
