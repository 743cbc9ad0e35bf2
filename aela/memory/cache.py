"""A cache of decoded pictures on the local disk: made once, then read row by row.

A file holds what was made of the frames of one video in one way, an array whose rows are the
frames: `<content hash of the video's rows>/<how it was made>-<which rows>.npy`, uint8, with a
checksum at its end. Files are written to a temporary name and renamed. What is missing, cut short
or damaged is made again, so the folder can be deleted at any time, also during a training; what was
not used for longest goes when the cache grows too large.
"""

import contextlib
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aela.ranges import WrongSetting, environment_number
from aela.storage import Home, canonical_json, sha256

FOLDER = "AELA_CACHE"  # environment variable: another folder than the home's
SIZE = "AELA_CACHE_GB"  # environment variable: another size than MOST_GB
MOST_GB = 8.0
ROWS_AT_ONCE = 64  # made and written at a time
HEADER_BYTES = 128  # as numpy writes it
CHECKSUM_BYTES = 4
NAME_DIGITS = 16  # of the hashes in file names
WHOLE = "-all.npy"  # the end of the name of a file that holds all rows of a video


@dataclass(frozen=True)
class Wanted:
    """Rows of one video that somebody wants to look at.

    Attributes:
        content: the hash of the video's rows in memory; of: their number.
        rows: int [n], the wanted ones, rising.
        made: names how they are made, completely: other settings or other code, another name.
        make: makes some of them: int [m] to uint8 [m, *shape]. What it makes of a row must not
            depend on the other rows.
    """

    content: str
    of: int
    rows: np.ndarray
    made: Mapping[str, Any]
    make: Callable[[np.ndarray], np.ndarray]


class Cache:
    """Raises WrongSetting when `most_bytes` is too small for what is wanted at once."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes

    @classmethod
    def of(cls, home: Home) -> "Cache":
        """The cache in `$AELA_CACHE`, else in the home if that is local, else in the user's own.

        Raises:
            WrongSetting: `$AELA_CACHE_GB` is no number above 0.
        """
        most_gb = environment_number(
            SIZE, MOST_GB, lambda gb: 0 < gb < math.inf, "a number of gigabytes above 0"
        )
        if folder := os.environ.get(FOLDER):
            return cls(Path(folder), int(most_gb * 1e9))
        if not home.root.protocol:
            return cls(Path(str(home.root)) / "cache", int(most_gb * 1e9))
        user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return cls(user / "aela", int(most_gb * 1e9))

    def load(self, wanted: Sequence[Wanted], shape: tuple[int, ...]) -> "Rows":
        """All wanted rows as one array [n, *shape], those not cached yet made now.

        Raises:
            WrongSetting: the cache is too small to hold them.
        """
        self._make_room(wanted, shape)
        for one in wanted:
            path = self.path(one)
            if self._sound(path):
                with contextlib.suppress(FileNotFoundError):  # It is made when its rows are read.
                    os.utime(path)
            else:
                self.make(one, shape)
        return Rows(self, wanted, shape)

    def make(self, wanted: Wanted, shape: tuple[int, ...]) -> None:
        """Make a file anew, a few rows at a time."""
        path = self.path(wanted)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(wanted.rows), *shape)}
        checksum = 0
        try:
            with os.fdopen(handle, "wb") as file:
                np.lib.format.write_array_header_1_0(file, header)
                for start in range(0, len(wanted.rows), ROWS_AT_ONCE):
                    rows = wanted.rows[start : start + ROWS_AT_ONCE]
                    made = np.ascontiguousarray(wanted.make(rows), dtype=np.uint8)
                    if made.shape != (len(rows), *shape):
                        raise ValueError(f"Rows of {shape} were to be made, not {made.shape}.")
                    checksum = zlib.crc32(made.data, checksum)
                    file.write(made.data)
                file.write(checksum.to_bytes(CHECKSUM_BYTES))
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def holds(self, content: str) -> bool:
        """Whether anything is there that was made of one video."""
        return (self.folder / content).exists()

    def forget(self, content: str) -> None:
        """Delete all that was made of one video."""
        shutil.rmtree(self.folder / content, ignore_errors=True)

    def path(self, wanted: Wanted) -> Path:
        """The file of the whole video, if there is one; else that of exactly these rows."""
        folder = self.folder / wanted.content
        made = sha256(canonical_json(dict(wanted.made)))[:NAME_DIGITS]
        whole = folder / f"{made}{WHOLE}"
        if len(wanted.rows) == wanted.of or whole.exists():
            return whole
        rows = sha256(np.asarray(wanted.rows, dtype="<i8").tobytes())[:NAME_DIGITS]
        return folder / f"{made}-{rows}.npy"

    def _sound(self, path: Path) -> bool:
        """Whether a file is there and whole; one that is not is deleted."""
        array = _mapped(path)
        if array is None:
            path.unlink(missing_ok=True)
            return False
        with path.open("rb") as file:
            file.seek(-CHECKSUM_BYTES, os.SEEK_END)
            sound = int.from_bytes(file.read()) == zlib.crc32(array.data)
        if not sound:
            path.unlink(missing_ok=True)
        return sound

    def _make_room(self, wanted: Sequence[Wanted], shape: tuple[int, ...]) -> None:
        """Delete what was not used for longest until all that is wanted has its place."""
        around, row = HEADER_BYTES + CHECKSUM_BYTES, int(np.prod(shape))
        needed = {self.path(one): around + row * len(one.rows) for one in wanted}
        if sum(needed.values()) > self.most_bytes:
            raise WrongSetting(
                f"The pictures to look at take {sum(needed.values()) / 1e9:.3g} GB and the cache "
                f"may hold {self.most_bytes / 1e9:.3g} GB; set {SIZE} higher."
            )
        there: dict[Path, os.stat_result] = {}
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # Others make room and rename, too.
                there[path] = path.stat()
        room = self.most_bytes - sum(stat.st_size for stat in there.values())
        room -= sum(size for path, size in needed.items() if path not in there)
        for path in sorted(there, key=lambda path: (path in needed, there[path].st_mtime)):
            if room >= 0:
                return
            path.unlink(missing_ok=True)
            room += there[path].st_size - needed.get(path, 0)


def _mapped(path: Path) -> np.ndarray | None:
    """A cached file, memory-mapped; None where there is none or it was cut short."""
    try:
        array = np.load(path, mmap_mode="r")
    except (FileNotFoundError, EOFError, ValueError):  # ValueError: what numpy says of such files
        return None
    size = path.stat().st_size
    whole = array.dtype == np.uint8 and array.offset + array.nbytes + CHECKSUM_BYTES == size
    return array if whole else None


class Rows:
    """Rows of many videos as one array, uint8 [n, *shape], read when they are asked for.

    `rows[numbers]`, with a slice or int [m], is a copy in memory: uint8 [m, *shape].
    """

    def __init__(self, cache: Cache, wanted: Sequence[Wanted], shape: tuple[int, ...]) -> None:
        self.shape = (sum(len(one.rows) for one in wanted), *shape)
        self._cache, self._wanted = cache, wanted
        self._paths = [cache.path(one) for one in wanted]
        self._ends = np.cumsum([len(one.rows) for one in wanted])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: slice | np.ndarray) -> np.ndarray:
        if isinstance(numbers, slice):
            numbers = np.arange(*numbers.indices(len(self)))
        result = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        files = np.searchsorted(self._ends, numbers, side="right")
        for file in np.unique(files).tolist():
            places = np.flatnonzero(files == file)
            first = self._ends[file] - len(self._wanted[file].rows)
            while not self._read(file, numbers[places] - first, [result[p] for p in places]):
                self._cache.make(self._wanted[file], self.shape[1:])
                self._paths[file] = self._cache.path(self._wanted[file])
        return result

    def _read(self, file: int, rows: np.ndarray, into: list[np.ndarray]) -> bool:
        """Read some of the wanted rows of one file; False if somebody deleted or cut it."""
        path = self._paths[file]
        lie = self._wanted[file].rows[rows] if path.name.endswith(WHOLE) else rows
        try:
            with path.open("rb", buffering=0) as opened:  # Mapping it would take longer.
                for row, target in zip(lie.tolist(), into, strict=True):
                    opened.seek(HEADER_BYTES + row * target.nbytes)
                    if opened.readinto(target.data) != target.nbytes:
                        return False
        except FileNotFoundError:
            return False
        return True
