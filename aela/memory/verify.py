"""Whether everything in memory is what its name says, whole, and where it belongs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from upath import UPath

from aela.memory import forget, store, videos
from aela.memory import manifest as manifests
from aela.storage import Home, sha256_file

LEFT_S = 3600.0  # a temporary file untouched for so long is nobody's any more
CHECKED = ("videos", "memory", "manifests", "models", "embeddings", "generations", "predictions")


@dataclass(frozen=True)
class Kind:
    """Things of one kind, by name, and what is wrong with one of them, in sentences."""

    name: str
    things: list[str]
    wrong: Callable[[str], Iterator[str]]

    def problems(self, thing: str) -> list[str]:
        """What is wrong with one of the things; one that cannot be read says so."""
        try:
            return list(self.wrong(thing))
        except (OSError, ValueError, TypeError, LookupError) as error:
            why = " ".join(str(error).split())
            return [f"{thing} ({self.name}) cannot be read: {why}"]


def kinds(home: Home) -> list[Kind]:
    """All that memory itself holds."""
    senses = (home.frames("*"), home.clips("*"), home.rejections("*"))
    rows = {path.stem for sense in senses for path in sense.parent.glob("*.parquet")}
    return [
        Kind("video", stems(home.videos), lambda video: _video(home, video)),
        Kind("file", _files(home), lambda name: _file(home, name)),
        Kind("rows", sorted(rows | {*stems(home.index)}), lambda video: _rows(home, video)),
        Kind("manifest", stems(home.all_manifests), lambda sha: _manifest(home, sha)),
        Kind("forgotten video", stems(home.forgotten), lambda video: _forgotten(home, video)),
        Kind("unfinished file", _unfinished(home), _left),
    ]


def stems(folder: UPath) -> list[str]:
    """The names of the JSON files in a folder, without the ending."""
    return sorted(path.stem for path in folder.glob("*.json"))


def _video(home: Home, key: str) -> Iterator[str]:
    if manifests.forgotten(home, key):  # Told once, below.
        return
    video = videos.find(home, key)
    if video.file is None:
        return
    media = videos.media_of(home, video)
    if not media.exists():
        yield f"The file of {key} is gone from {media}; drop it in again."
    elif media.stat().st_size != video.bytes or sha256_file(media) != video.sha256:
        yield f"{media} is not the file that was taken in as {key}; replace it with the original."


def _files(home: Home) -> list[str]:
    """The files of videos, but for half-written ones."""
    return sorted(path.name for path in (home.videos / "files").glob("[!.]*"))


def _file(home: Home, name: str) -> Iterator[str]:
    media = home.videos / "files" / name
    keys = {name, media.stem}  # Its key alone, where the name of the video had no usual end.
    records = [key for key in keys if (home.videos / f"{key}.json").exists()]
    if all(videos.find(home, key).file != home.relative(media) for key in records):
        yield f"{media} belongs to no video; delete it, or drop it into the inbox."


def _rows(home: Home, video: str) -> Iterator[str]:
    if manifests.forgotten(home, video):  # Told once, below.
        return
    if not (home.videos / f"{video}.json").exists():
        yield f"Memory holds rows of {video}, which is no video; delete {home.frames(video)}."
        return
    written = store.content(home, video)
    if written is None:
        yield f"The rows of {video} were not written to the end; ingest it again."
    elif store.recomputed(home, video) != written:
        yield f"The rows of {video} are not those that were written; capture it anew."
    store.read_rejections(home, video)


def _manifest(home: Home, sha: str) -> Iterator[str]:
    if manifests.read(home, sha).sha != sha:
        yield f"The manifest {home.manifest(sha)} was changed; it no longer has the hash it names."


def _forgotten(home: Home, video: str) -> Iterator[str]:
    if not forget.finished(home, forget.all_forgotten(home)[video]):
        yield f"{video} was not forgotten to the end; run `aela memory forget {video}` again."


def _unfinished(home: Home) -> list[str]:
    """Temporary files that killed processes have left; object stores have none."""
    if home.root.protocol:
        return []
    hidden = (path for name in CHECKED for path in (home.root / name).rglob(".*"))
    old = time.time() - LEFT_S
    return sorted(str(path) for path in hidden if path.is_file() and path.stat().st_mtime < old)


def _left(path: str) -> Iterator[str]:
    yield f"{path} was left half-written by a process that was killed; delete it."
