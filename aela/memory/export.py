"""Remembered frames and clips as plain files, for people and other programs."""

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile

from aela.memory import store
from aela.memory.store import Remembered
from aela.storage import Home

COLUMNS = (
    *("file", "video", "sense", "start_s", "end_s"),
    *("width", "height", "sharpness", "word_start_s", "level_db", "snr_db"),
)


def export(
    home: Home,
    entries: Sequence[Remembered],
    folder: Path,
    progress: Callable[[str], None] = lambda video: None,
) -> int:
    """Write `<video>/frames/*.jpg`, `<video>/clips/*.wav` and `index.csv` into a new folder.

    The folder appears when all of it is written. Files are named by row and time in seconds; the
    index has a line for each, with COLUMNS.

    Args:
        progress: told each video when it is done.

    Returns:
        the number of frames and clips.

    Raises:
        ValueError: there is something in the folder already.
        UnknownVideo: memory holds nothing of a video.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"There is something in {folder} already; give a new or empty folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    growing = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:64]}."))
    written = 0
    try:
        with (growing / "index.csv").open("w", newline="", encoding="utf-8") as file:
            index = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            index.writeheader()
            for entry in entries:
                for line in _files(home, entry, growing):
                    index.writerow(line)
                    written += 1
                progress(entry.video)
        growing.chmod(0o755)
        os.replace(growing, folder)  # noqa: PTH105  (onto an empty folder, too)
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise
    return written


def _files(home: Home, entry: Remembered, folder: Path) -> Iterator[dict[str, Any]]:
    """Write the files of one video; what the index says of each."""
    common = {"video": entry.video}
    for number, row in enumerate(store.each(home, entry.video, "frame")):
        path = folder / entry.video / "frames" / f"{number:05d}_{row['time_s']:.2f}s.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["jpeg"])
        name = path.relative_to(folder).as_posix()
        yield {**common, **row, "file": name, "sense": "frame", "start_s": row["time_s"]}
    for number, row in enumerate(store.each(home, entry.video, "clip")):
        path = write_clip(row, number, folder / entry.video / "clips")
        yield {**common, **row, "file": path.relative_to(folder).as_posix(), "sense": "clip"}


def write_clip(row: dict[str, Any], number: int, folder: Path) -> Path:
    """Write one clip, a row of memory, as a 16-bit WAV file named by row number and time."""
    path = folder / f"{number:05d}_{row['start_s']:.2f}-{row['end_s']:.2f}s.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    samples, rate = soundfile.read(io.BytesIO(row["flac"]), dtype="int16")
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path
