"""Which videos are known: each one file, one partition key, one role.

A video is taken in by its content: the key is `<stem>-<first 8 hex of its SHA-256>`. The record
`videos/<video>.json` is written before its file is moved or anything is made of it, so that
whatever was interrupted is found again. A video that is dropped for both roles has both.
"""

import contextlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Literal, get_args

from upath import UPath

from aela.storage import Home, atomic, read_json, sha256_file, write_bytes, write_json

Role = Literal["learn", "watch"]
ROLES: tuple[Role, ...] = get_args(Role)
HASH_DIGITS = 8
LONGEST_STEM = 80  # bytes: a key with an ending must stay a valid file name


class UnknownVideo(LookupError):
    """No such video in this home."""


@dataclass(frozen=True)
class Video:
    """One recording. `file` is relative to the home; `name` is what its owner called it.

    A minute of a live source has no file (None, 0 bytes): `sha256` is then that of its rows.
    """

    video: str
    roles: tuple[Role, ...]
    name: str
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


def take_in(home: Home, source: UPath, role: Role, *, move: bool) -> Video:
    """Bring a file into the home and record it; the same content again is the same video.

    Args:
        move: take the file away from where it lies (the inbox) instead of copying it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, or `role` is not one of ROLES.
    """
    if role not in ROLES:
        raise ValueError(f"A video's role is one of {', '.join(ROLES)}, not {role!r}.")
    if not source.is_file():
        raise FileNotFoundError(f"There is no file {source}; give the path of a video.")
    size = source.stat().st_size
    if size == 0:
        raise ValueError(f"{source.name!r} is empty (0 bytes); copy it again.")
    sha = sha256_file(source)
    video = _key_of(home, sha) or _new_key(home, source.name, sha)
    record = home.videos / f"{video}.json"
    suffix = source.suffix.lower() if re.fullmatch(r"\.\w{1,8}", source.suffix) else ""
    target = home.videos / "files" / f"{video}{suffix}"
    before = find(home, video) if record.exists() else None
    roles: tuple[Role, ...] = tuple(
        known for known in ROLES if known == role or (before and known in before.roles)
    )
    if before and (home.index / f"{video}.json").exists():
        result = replace(before, roles=roles)
    else:  # New, or dropped once more because it was not ingested yet.
        name = source.name.encode(errors="replace").decode()
        added = datetime.now(UTC).isoformat()
        result = Video(video, roles, name, home.relative(target), sha, size, added)
    if result != before:
        write_json(record, asdict(result))
    if not media_of(home, result).exists():
        _bring(source, media_of(home, result), move=move)
    elif move:
        source.unlink()
    return result


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
    for record in home.videos.glob(f"*-{sha[:HASH_DIGITS]}.json"):
        forgotten = (home.forgotten / record.name).exists()
        if not forgotten and _read(record).sha256 == sha:
            return record.stem
    return None


def _bring(source: UPath, target: UPath, *, move: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    same_disk = not source.protocol and not target.protocol
    if move and same_disk and source.stat().st_dev == target.parent.stat().st_dev:
        os.replace(str(source), str(target))  # noqa: PTH105  (UPath.rename is not atomic)
        return
    with source.open("rb") as reader, atomic(target) as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
    if move:
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
    if not home.videos.exists():
        return []
    records = [_read(path) for path in home.videos.glob("*.json")]
    wanted = (video for video in records if role is None or role in video.roles)
    return sorted(wanted, key=lambda video: (video.added, video.video))


def _read(record: UPath) -> Video:
    values = read_json(record)
    return Video(**{**values, "roles": tuple(values["roles"])})


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
            shutil.copyfileobj(reader, writer, 1 << 20)
        yield path


def quarantine(home: Home, video: Video, reason: str) -> UPath:
    """Set a video aside that cannot be used; the file is kept beside a text with the reason."""
    media = media_of(home, video)
    target = home.quarantine / media.name
    if media.exists():
        _bring(media, target, move=True)
    write_bytes(home.quarantine / f"{target.name}.txt", f"{reason}\n".encode())
    (home.videos / f"{video.video}.json").unlink(missing_ok=True)
    return target
