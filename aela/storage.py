"""Where everything lies under `AELA_HOME`, and how it is written: whole or not at all.

The layout is this one class, `Home`; every other module asks it for paths. Paths are `UPath`s,
so that the same code reads and writes a local folder and an object store (`s3://...`).
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import fsspec
from fsspec.parquet import open_parquet_file
from upath import UPath

if TYPE_CHECKING:  # What only asks where things lie starts without it.
    import pyarrow as pa

DEFAULT_HOME = "data"
STORE: dict[str, Any] = {"use_listings_cache": False}  # others write to the same store
S3: dict[str, Any] = {"max_concurrency": 2}  # parts of 50 MB in memory during an upload
FOOTER_BYTES = 128_000  # fetched at once from the end of a table; that of an hour of frames fits


@dataclass(frozen=True)
class Home:
    """The data folder. `video` is a partition key, `sha` a content hash in hex."""

    root: UPath

    @classmethod
    def at(cls, location: str | os.PathLike[str] | UPath | None = None) -> "Home":
        """The home at `location`, else at `$AELA_HOME`, else at `./data`.

        Raises:
            ValueError: nothing is installed that reads and writes such a location.
        """
        root = UPath(location or os.environ.get("AELA_HOME") or DEFAULT_HOME)
        if not root.protocol:
            return cls(UPath(root.absolute()))
        s3 = root.protocol == "s3"
        try:
            fsspec.get_filesystem_class(root.protocol)
        except (ImportError, ValueError) as error:
            how = "install it with `pip install s3fs`" if s3 else error
            raise ValueError(f"The data folder {root} needs a library; {how}.") from None
        return cls(UPath(root, **STORE, **(S3 if s3 else {})))

    def inbox(self, role: str) -> UPath:
        return self.root / "inbox" / role

    @property
    def quarantine(self) -> UPath:
        return self.root / "quarantine"

    @property
    def videos(self) -> UPath:
        return self.root / "videos"

    def frames(self, video: str) -> UPath:
        return self.root / "memory" / "frames" / f"{video}.parquet"

    def clips(self, video: str) -> UPath:
        return self.root / "memory" / "clips" / f"{video}.parquet"

    def rejections(self, video: str) -> UPath:
        return self.root / "memory" / "rejections" / f"{video}.parquet"

    @property
    def index(self) -> UPath:
        """One small file per remembered video, written last: what has one is complete."""
        return self.root / "memory" / "index"

    @property
    def catalogue(self) -> UPath:
        """Snapshots of folders of many small files: made anew when deleted."""
        return self.root / "catalogue"

    @property
    def recordings(self) -> UPath:
        """One empty file per live source that is followed now, locked while it is."""
        return self.root / "recordings"

    @property
    def all_manifests(self) -> UPath:
        return self.root / "manifests"

    def manifest(self, sha: str) -> UPath:
        return self.all_manifests / f"{sha}.json"

    @property
    def current_manifest(self) -> UPath:
        return self.all_manifests / "current"

    @property
    def forgotten(self) -> UPath:
        """One small file per video that was forgotten on purpose, written first."""
        return self.root / "forgotten"

    @property
    def all_models(self) -> UPath:
        return self.root / "models"

    def models(self, model: str) -> UPath:
        return self.all_models / model

    def unfinished(self, model: str) -> UPath:
        """One bookmark per unfinished training; its name begins with the hash of the manifest."""
        return self.models(model) / "unfinished"

    @property
    def all_embeddings(self) -> UPath:
        return self.root / "embeddings"

    def embeddings(self, checkpoint: str, video: str) -> UPath:
        return self.all_embeddings / checkpoint / f"{video}.parquet"

    def ground(self, checkpoint: str, video: str) -> UPath:
        return self.all_embeddings / checkpoint / "ground" / f"{video}.parquet"

    def taken_over(self, checkpoint: str) -> UPath:
        """Of which videos a checkpoint uses the embeddings of an earlier one."""
        return self.all_embeddings / checkpoint / "taken_over.json"

    def pairs(self, sha: str) -> UPath:
        return self.root / "pairs" / f"{sha}.parquet"

    @property
    def generations(self) -> UPath:
        return self.root / "generations"

    @property
    def generation_histories(self) -> UPath:
        """What became of each generation, beside the records, which never change."""
        return self.generations / "history"

    @property
    def all_predictions(self) -> UPath:
        return self.root / "predictions"

    def predictions(self, video: str, generation: str) -> UPath:
        return self.all_predictions / video / f"{generation}.parquet"

    def spoken_video(self, video: str, generation: str) -> UPath:
        return self.predictions(video, generation).with_suffix(".mp4")

    def evaluation(self, generation: str) -> UPath:
        return self.root / "evaluation" / generation

    def report(self, generation: str) -> UPath:
        return self.evaluation(generation) / "report.html"

    def metrics(self, generation: str) -> UPath:
        """What is written last of an evaluation and its report."""
        return self.evaluation(generation) / "metrics.json"

    def relative(self, path: UPath) -> str:
        """`path` as it is written into tables: relative to the home, with forward slashes."""
        return path.relative_to(self.root).as_posix()


NO_ROOM = "The disk is full"


class DiskFull(OSError):
    """There is no room left; the message says where, in one sentence."""


@contextmanager
def atomic(path: UPath) -> Iterator[IO[bytes]]:
    """Open `path` for writing so that readers see the whole new file or nothing of it.

    Locally the bytes go to a temporary file in the same folder, which is renamed at the end; what
    goes to an object store is uploaded at the end, and shown there once it is complete. On an
    error nothing is left behind, and what a killed process left is used up by the next write.

    Raises:
        DiskFull: there is no room for it.
    """
    try:
        with _whole(path) as file:
            yield file
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"{NO_ROOM}: there is no room for {path}; free some space and try again."
            ) from error
        raise


def settle(folder: UPath) -> None:
    """Make sure that a folder's names outlast a power failure, as those of object stores do."""
    if folder.protocol:
        return
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _whole(path: UPath) -> Iterator[IO[bytes]]:
    if path.protocol:
        with tempfile.NamedTemporaryFile() as file:
            yield file
            file.flush()
            try:
                path.fs.put_file(file.name, path.path)
            except OSError:
                raise
            except Exception as error:  # The libraries of stores have errors of their own.
                raise OSError(f"{path} could not be written: {error}") from error
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _temporary(Path(str(path)))
    with os.fdopen(handle, "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(handle)
            os.fchmod(handle, 0o644)
            temporary.replace(str(path))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _temporary(path: Path) -> tuple[int, Path]:
    """An empty file beside `path`, open for writing.

    It has one name for each path and is locked until it is closed, so that what a killed process
    left half-written is used up by the next that writes the same. Only while another is at it, or
    where the name is too long or locks are unknown, has the file a name of its own.
    """
    temporary = path.with_name(f".{path.name}.part")
    with contextlib.suppress(OSError):
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Until it was locked, the other may have finished: then it is no temporary any more.
            if os.fstat(handle).st_ino == temporary.stat().st_ino:
                os.ftruncate(handle, 0)
                return handle, temporary
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
    return handle, Path(name)


def remove(thing: UPath) -> None:
    """Delete a file, or a folder with all it holds; nothing where there is none."""
    if thing.is_dir():
        thing.fs.rm(thing.path, recursive=True)
    else:
        thing.unlink(missing_ok=True)


def open_parquet(
    path: UPath, columns: Sequence[str] | None = None, row_groups: Sequence[int] | None = None
) -> IO[bytes]:
    """Open a table to read these columns and row groups of it, all where None.

    From an object store only their bytes are fetched, those that lie close together in one request.

    Raises:
        FileNotFoundError: there is no such table.
    """
    if not path.protocol:
        return path.open("rb")
    file: Any = open_parquet_file(
        path.path,
        fs=path.fs,
        columns=columns,
        row_groups=row_groups,
        engine="pyarrow",
        footer_sample_size=FOOTER_BYTES,
    )
    return file


def read_parquet(path: UPath, columns: Sequence[str] | None = None) -> "pa.Table":
    """A table, or these columns of it, with its checksums verified.

    Without threads: they cost more than they save where tables are small, they may outlive the
    reading, and one that frees a buffer when the process ends aborts it.

    Raises:
        FileNotFoundError: there is no such table.
    """
    import pyarrow.parquet as pq

    with open_parquet(path, columns) as file:
        table = pq.ParquetFile(file, page_checksum_verification=True)
        return table.read(columns, use_threads=False)


def write_bytes(path: UPath, data: bytes) -> None:
    with atomic(path) as file:
        file.write(data)


def canonical_json(value: Any) -> bytes:
    """JSON with one spelling per value, so that equal values have equal hashes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write_json(path: UPath, value: Any) -> None:
    write_bytes(path, json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False).encode())


def read_json(path: UPath) -> Any:
    return json.loads(path.read_bytes())


def starting(start: str, names: Iterable[str]) -> list[str]:
    """The names that begin so, none with nothing; the one alone that is exactly so."""
    found = [name for name in names if start and name.startswith(start)]
    return [start] if start in found else found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: UPath) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
