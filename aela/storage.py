"""Where everything lies under `AELA_HOME`, and how it is written: whole or not at all.

The layout is this one class, `Home`; every other module asks it for paths. Paths are `UPath`s,
so that the same code reads and writes a local folder and an object store (`s3://...`).
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from upath import UPath

DEFAULT_HOME = "data"


@dataclass(frozen=True)
class Home:
    """The data folder. `video` is a partition key, `sha` a content hash in hex."""

    root: UPath

    @classmethod
    def at(cls, location: str | os.PathLike[str] | UPath | None = None) -> "Home":
        """The home at `location`, else at `$AELA_HOME`, else at `./data`."""
        root = UPath(location or os.environ.get("AELA_HOME") or DEFAULT_HOME)
        return cls(root if root.protocol else UPath(root.absolute()))

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

    @property
    def all_embeddings(self) -> UPath:
        return self.root / "embeddings"

    def embeddings(self, checkpoint: str, video: str) -> UPath:
        return self.all_embeddings / checkpoint / f"{video}.parquet"

    def ground(self, checkpoint: str, video: str) -> UPath:
        return self.all_embeddings / checkpoint / "ground" / f"{video}.parquet"

    def pairs(self, sha: str) -> UPath:
        return self.root / "pairs" / f"{sha}.parquet"

    @property
    def generations(self) -> UPath:
        return self.root / "generations"

    @property
    def all_predictions(self) -> UPath:
        return self.root / "predictions"

    def predictions(self, video: str, generation: str) -> UPath:
        return self.all_predictions / video / f"{generation}.parquet"

    def evaluation(self, generation: str) -> UPath:
        return self.root / "evaluation" / generation

    def relative(self, path: UPath) -> str:
        """`path` as it is written into tables: relative to the home, with forward slashes."""
        return path.relative_to(self.root).as_posix()


@contextmanager
def atomic(path: UPath) -> Iterator[IO[bytes]]:
    """Open `path` for writing so that readers see the whole new file or nothing of it.

    Locally the bytes go to a temporary file in the same folder, which is renamed at the end; what
    goes to an object store is uploaded at the end, and shown there once it is complete. On an
    error nothing is left behind.
    """
    if path.protocol:
        with tempfile.NamedTemporaryFile() as file:
            yield file
            file.flush()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.fs.put_file(file.name, path.path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix=f".{path.name[:64]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(str(path))
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: UPath) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
