"""Frames, clips and rejections of a video as Parquet files, written once and whole.

Pictures are JPEG, sounds FLAC, in columns beside their times; row groups are small, so that one
row costs one small read. pandas, DuckDB and Ray Data read the files as they are.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image
from upath import UPath

from aela.capture import SAMPLE_RATE_HZ, Clip, Frame, Rejection
from aela.memory import catalogue, videos
from aela.memory.videos import Role, UnknownVideo, Video
from aela.storage import (
    Home,
    atomic,
    canonical_json,
    open_parquet,
    read_json,
    read_parquet,
    sha256,
    write_json,
)

FRAMES = pa.schema(
    [
        ("time_s", pa.float64()),
        ("jpeg", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sharpness", pa.float32()),
        (
            "before",
            pa.binary(),
        ),  # small JPEG of the view shortly before: what moves shows the thing
        ("after", pa.binary()),
    ]
)
CLIPS = pa.schema(
    [
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("flac", pa.binary()),
        ("word_start_s", pa.float32()),  # where in the sound the word begins
        ("level_db", pa.float32()),
        ("snr_db", pa.float32()),
    ]
)
REJECTIONS = pa.schema(
    [
        ("sense", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("reason", pa.string()),
        ("value", pa.float32()),
    ]
)
TIMES = ("time_s", "start_s", "end_s")
ROWS_PER_GROUP = 16
ROWS_AT_ONCE = 256  # all pictures of a long video at once would take gigabytes
NEIGHBOUR_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Remembered:
    """The index entry of a video: what memory holds of it. `content` names exactly these rows."""

    video: str
    roles: tuple[str, ...]
    content: str
    frames: int
    clips: int
    frame_rejections: dict[str, int]
    clip_rejections: dict[str, int]


def left_out(*reasons: dict[str, int]) -> str:
    """What was left out and how often, for people; a reason of both senses is counted together."""
    together = sum(map(Counter, reasons), Counter[str]())
    return ", ".join(f"{count} {reason}" for reason, count in together.items())


class _Table:
    """Rows gathered into small row groups, with a running hash of the content."""

    def __init__(self, schema: pa.Schema, file: Any) -> None:
        self.schema, self.rows, self.count, self.sha = schema, [], 0, sha256(b"")
        # Statistics of times alone: those of pictures are pictures, and all lie in the footer,
        # which is read with every row.
        times = [column for column in TIMES if column in schema.names]
        self.writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=False,
            write_statistics=times,  # type: ignore[arg-type]
            write_page_checksum=True,
        )

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.count += 1
        self.sha = _grown(self.sha, row, self.schema)
        if len(self.rows) == ROWS_PER_GROUP:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            self.writer.write_table(pa.Table.from_pylist(self.rows, schema=self.schema))
            self.rows = []

    def close(self) -> None:
        self.flush()
        self.writer.close()


def _grown(sha: str, row: dict[str, Any], schema: pa.Schema) -> str:
    """The running hash with one more row, of the values as they are stored."""
    spelled = {}
    for column in schema:
        value = row[column.name]
        if isinstance(value, bytes):
            value = sha256(value)
        elif pa.types.is_floating(column.type) and value is not None:
            value = float(np.float32(value) if column.type == pa.float32() else value)
        spelled[column.name] = value
    return sha256(sha.encode() + canonical_json(spelled))


def remember(home: Home, video: Video, senses: Iterable[Frame | Clip | Rejection]) -> Remembered:
    """Write what was captured of `video`; readers see all of it or nothing.

    An error while capturing leaves memory as it was; one while its tables are put into their places
    leaves nothing of it, so that it is captured again.
    """
    return _remember(home, video, map(_row, senses))


def remember_rest(
    home: Home, of: str, video: Video, left_out: Callable[[str, float, float], bool]
) -> Remembered:
    """Write what memory holds of one video as another, row for row, without what is left out.

    Args:
        left_out: is given "frame" or "clip", and where it starts and ends, in seconds.

    Raises:
        UnknownVideo: memory holds nothing of it.
    """
    rows = chain(
        (("frame", row) for row in each(home, of, "frame")),
        (("clip", row) for row in each(home, of, "clip")),
        (("rejection", row) for row in read_rejections(home, of).to_pylist()),
    )

    def kept(kind: str, row: dict[str, Any]) -> bool:
        sense = row["sense"] if kind == "rejection" else kind
        start_s = row["time_s"] if kind == "frame" else row["start_s"]
        return not left_out(sense, start_s, row.get("end_s", start_s))

    return _remember(home, video, (found for found in rows if kept(*found)))


def _remember(home: Home, video: Video, rows: Iterable[tuple[str, dict[str, Any]]]) -> Remembered:
    """Write rows, each named frame, clip or rejection."""
    counts: dict[str, dict[str, int]] = {"frame": {}, "clip": {}}
    with ExitStack() as stack:
        frames, clips, rejections = (
            _Table(schema, stack.enter_context(atomic(path)))
            for schema, path in (
                (FRAMES, home.frames(video.video)),
                (CLIPS, home.clips(video.video)),
                (REJECTIONS, home.rejections(video.video)),
            )
        )
        for table in (frames, clips, rejections):
            stack.callback(table.writer.close)
        tables = {"frame": frames, "clip": clips, "rejection": rejections}
        for kind, row in rows:
            tables[kind].add(row)
            if kind == "rejection":
                reasons = counts[row["sense"]]
                reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
        for table in (frames, clips, rejections):
            table.close()
        index = home.index / f"{video.video}.json"
        if index.exists():  # It tells of the rows that go now.
            index.unlink()
    entry = Remembered(
        video.video,
        video.roles,
        _content(frames.sha, clips.sha),
        frames.count,
        clips.count,
        counts["frame"],
        counts["clip"],
    )
    # Roles may change later without any row changing: their place is the video's record.
    written = {name: value for name, value in asdict(entry).items() if name != "roles"}
    write_json(index, written)
    return entry


def _row(sensed: Frame | Clip | Rejection) -> tuple[str, dict[str, Any]]:
    if isinstance(sensed, Frame):
        return "frame", _frame_row(sensed)
    if isinstance(sensed, Clip):
        return "clip", _clip_row(sensed)
    return "rejection", asdict(sensed)


def _content(frames: str, clips: str) -> str:
    return sha256((frames + clips).encode())


def _frame_row(frame: Frame) -> dict[str, Any]:
    before, after = (_small_jpeg(view) for view in frame.neighbours)
    return {
        "time_s": frame.time_s,
        "jpeg": frame.jpeg,
        "width": frame.width,
        "height": frame.height,
        "sharpness": frame.sharpness,
        "before": before,
        "after": after,
    }


def _small_jpeg(view: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(view).save(buffer, "JPEG", quality=NEIGHBOUR_JPEG_QUALITY)
    return buffer.getvalue()


def _clip_row(clip: Clip) -> dict[str, Any]:
    return {
        "start_s": clip.start_s,
        "end_s": clip.end_s,
        "flac": to_flac(clip.samples),
        "word_start_s": clip.word_start_s,
        "level_db": clip.level_db,
        "snr_db": clip.snr_db,
    }


def to_flac(samples: np.ndarray) -> bytes:
    """Mono samples in [-1, 1] at 44.1 kHz as a FLAC file (16 bit)."""
    buffer, bounded = io.BytesIO(), np.clip(samples, -1, 1)
    soundfile.write(buffer, bounded, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def from_flac(flac: bytes) -> np.ndarray:
    """float32 [n] mono samples at 44.1 kHz of a FLAC file that `to_flac` wrote."""
    samples, _ = soundfile.read(io.BytesIO(flac), dtype="float32")
    return samples


def duration_s(flac: bytes) -> float:
    """Seconds of a FLAC file, without decoding it."""
    return soundfile.info(io.BytesIO(flac)).duration


def remembered(home: Home, role: Role | None = None) -> list[Remembered]:
    """The index: all completely remembered videos of a role, by key."""
    index = catalogue.read(home, home.index)
    entries = [
        Remembered(roles=video.roles, **index[video.video])
        for video in videos.known(home, role)
        if video.video in index
    ]
    return sorted(entries, key=lambda entry: entry.video)


def entry(home: Home, video: str) -> Remembered | None:
    """The index entry of one video; None if it is not completely remembered."""
    path = home.index / f"{video}.json"
    if not path.exists():
        return None
    return Remembered(roles=videos.find(home, video).roles, **read_json(path))


def content(home: Home, video: str) -> str | None:
    """The hash of the rows that memory holds of a video now."""
    path = home.index / f"{video}.json"
    return read_json(path)["content"] if path.exists() else None


def recomputed(home: Home, video: str) -> str:
    """The hash of the rows that lie in memory, row by row: `content`, if they are as written.

    Raises:
        UnknownVideo: memory has no frames or no clips of it.
    """
    shas = []
    for path, schema in ((home.frames(video), FRAMES), (home.clips(video), CLIPS)):
        sha = sha256(b"")
        with _held(video), path.open("rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(ROWS_PER_GROUP, use_threads=False):
                for row in batch.to_pylist():
                    sha = _grown(sha, row, schema)
        shas.append(sha)
    return _content(*shas)


def read_frames(home: Home, video: str, columns: list[str] | None = None) -> pa.Table:
    """The frames of a video in time order, with the columns of `FRAMES`.

    Raises:
        UnknownVideo: memory has no frames of it.
    """
    return _read(home.frames(video), video, columns)


def read_clips(home: Home, video: str, columns: list[str] | None = None) -> pa.Table:
    """The clips of a video in time order, with the columns of `CLIPS`.

    Raises:
        UnknownVideo: memory has no clips of it.
    """
    return _read(home.clips(video), video, columns)


def read_rejections(home: Home, video: str) -> pa.Table:
    """What was left out of a video and why, with the columns of `REJECTIONS`.

    Raises:
        UnknownVideo: memory has nothing of it.
    """
    return _read(home.rejections(video), video, None)


@contextmanager
def _held(video: str) -> Iterator[None]:
    """Around opening the tables of a video.

    Raises:
        UnknownVideo: memory has none of it.
    """
    try:
        yield
    except FileNotFoundError:
        raise UnknownVideo(f"Memory holds nothing of {video!r}; ingest it first.") from None


def _read(path: UPath, video: str, columns: list[str] | None) -> pa.Table:
    with _held(video):
        return read_parquet(path, columns)


def read_row(
    home: Home, video: str, sense: str, row: int, columns: list[str] | None = None
) -> dict[str, Any]:
    """One frame or clip (`sense` is "frame" or "clip") by its row number: one small read.

    Raises:
        UnknownVideo: memory holds nothing of the video.
        IndexError: it has no such row.
    """
    return read_rows(home, video, sense, [row], columns).to_pylist()[0]


def nearest(home: Home, video: str, sense: str, time_s: float) -> dict[str, Any]:
    """The frame that was taken, or the clip that begins, nearest to a time (`sense` is "frame" or
    "clip").

    Raises:
        UnknownVideo: memory holds nothing of the video.
        IndexError: it has none of the kind.
    """
    column = "time_s" if sense == "frame" else "start_s"
    times = _read(_path(home, video, sense), video, [column])[column].to_numpy()
    return read_row(home, video, sense, int(np.abs(times - time_s).argmin()) if len(times) else 0)


def in_parts(home: Home, video: str, sense: str) -> Iterator[pa.Table]:
    """All frames or clips (`sense` is "frame" or "clip") in time order, ROWS_AT_ONCE at a time.

    Raises:
        UnknownVideo: memory holds nothing of the video.
    """
    rows = count(home, video, sense)
    for start in range(0, rows, ROWS_AT_ONCE):
        yield read_rows(home, video, sense, range(start, min(start + ROWS_AT_ONCE, rows)))


def each(home: Home, video: str, sense: str) -> Iterator[dict[str, Any]]:
    """All frames or clips of a video, one by one, as `in_parts` reads them."""
    for some in in_parts(home, video, sense):
        yield from some.to_pylist()


def count(home: Home, video: str, sense: str) -> int:
    """How many frames or clips (`sense` is "frame" or "clip") memory holds of a video.

    Raises:
        UnknownVideo: memory holds nothing of the video.
    """
    with _held(video), open_parquet(_path(home, video, sense), row_groups=[]) as file:
        return pq.ParquetFile(file).metadata.num_rows


def read_rows(
    home: Home, video: str, sense: str, rows: Sequence[int], columns: list[str] | None = None
) -> pa.Table:
    """Some frames or clips by their row numbers, rising; only the groups they lie in are read.

    Raises:
        UnknownVideo: memory holds nothing of the video.
        IndexError: it has no such row.
    """
    groups = sorted({row // ROWS_PER_GROUP for row in rows})
    with _held(video), open_parquet(_path(home, video, sense), columns, groups) as file:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        for row in rows:
            if not 0 <= row < parquet.metadata.num_rows:
                raise IndexError(f"{video!r} has no {sense} {row}.")
        table = parquet.read_row_groups(groups, columns, use_threads=False)
    place = {group: number for number, group in enumerate(groups)}
    return table.take(
        [place[row // ROWS_PER_GROUP] * ROWS_PER_GROUP + row % ROWS_PER_GROUP for row in rows]
    )


def _path(home: Home, video: str, sense: str) -> UPath:
    return home.frames(video) if sense == "frame" else home.clips(video)
