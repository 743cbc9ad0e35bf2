"""Predictions: what one generation says to each frame of a video, with the way back to memory."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from aela.memory import manifest as manifests
from aela.memory import store
from aela.mimicry import generation as generations
from aela.mimicry.generation import UnknownGeneration
from aela.storage import Home, atomic, read_json, read_parquet, remove, write_bytes, write_json

if TYPE_CHECKING:  # Readers of predictions need no network.
    from aela.mimicry.recall import Mimic, Recollection

PREDICTIONS = pa.schema(
    [
        ("time_s", pa.float64()),
        ("said", pa.bool_()),
        ("confidence", pa.float32()),
        ("novelty", pa.float32()),
        ("sound", pa.string()),  # under AELA_HOME, null when silent
        ("clip_video", pa.string()),
        ("clip_start_s", pa.float64()),
        ("clip_end_s", pa.float64()),
        (
            "frames",
            pa.list_(
                pa.struct(
                    [
                        ("video", pa.string()),
                        ("time_s", pa.float64()),
                        ("similarity", pa.float32()),
                    ]
                )
            ),
        ),
        ("generation", pa.string()),
        ("image_encoder", pa.string()),
        ("mel_autoencoder", pa.string()),
        ("word_autoencoder", pa.string()),
        ("associator", pa.string()),
        ("manifest", pa.string()),
    ]
)
SOUNDS_AT_A_TIME = 32


def predict(home: Home, video: str, mimic: "Mimic") -> pa.Table:
    """Look at every frame that memory keeps of `video`, write and return the predictions.

    The sounds lie beside the table, one FLAC file per row that speaks; the table is written last.

    Raises:
        UnknownVideo: the video was not ingested.
    """
    path = home.predictions(video, mimic.generation.sha)
    table, codes = look(home, video, mimic)
    sounds: list[str | None] = [None] * len(table)
    speaking = np.flatnonzero(table["said"].to_numpy(zero_copy_only=False))
    for start in range(0, len(speaking), SOUNDS_AT_A_TIME):
        rows = speaking[start : start + SOUNDS_AT_A_TIME]
        for row, samples in zip(rows, mimic.speak(codes[rows]), strict=True):
            sound = path.with_suffix("") / f"{row:05d}.flac"
            write_bytes(sound, store.to_flac(samples))
            sounds[row] = home.relative(sound)
    column = table.schema.get_field_index("sound")
    table = table.set_column(column, PREDICTIONS.field("sound"), pa.array(sounds, pa.string()))
    write(table, path)
    return table


def look(home: Home, video: str, mimic: "Mimic") -> tuple[pa.Table, np.ndarray]:
    """The predictions for `video` without their sounds, and the word embeddings to speak [n, w].

    The table's metadata names the video and the content of its rows.

    Raises:
        UnknownVideo: the video was not ingested.
    """
    content = store.content(home, video) or ""
    table, codes = PREDICTIONS.empty_table(), np.zeros((0, 0), np.float32)
    looks = [
        (mimic.encoder.embed(frames), frames["time_s"].to_numpy())
        for frames in store.in_parts(home, video, "frame")
    ]
    if looks:
        images, times_s = (np.concatenate(part) for part in zip(*looks, strict=True))
        recollection = mimic.recall(images, times_s)
        table, codes = _table(times_s, recollection, mimic), recollection.codes
    return table.replace_schema_metadata({"video": video, "content": content}), codes


def write(table: pa.Table, path: UPath) -> None:
    """Write a predictions table whole."""
    with atomic(path) as file:
        pq.write_table(table, file, write_page_checksum=True)


def read_predictions(home: Home, video: str, generation: str) -> pa.Table:
    """The predictions table, with the columns of `PREDICTIONS`."""
    return read_parquet(home.predictions(video, generation))


def made_of(schema: pa.Schema) -> str | None:
    """The hash of the video's rows that a predictions table was made of; the first do not tell."""
    return (schema.metadata or {}).get(b"content", b"").decode() or None


def forgotten_in(home: Home, table: pa.Table) -> list[str]:
    """The forgotten videos that a predictions table leans on."""
    named = set(table["clip_video"].to_pylist())
    named |= {frame["video"] for frames in table["frames"].to_pylist() for frame in frames}
    return sorted(video for video in named if manifests.forgotten(home, video))


def predicted(home: Home, generation: str) -> list[str]:
    """The videos that a generation has predictions of, by key."""
    return sorted(path.parent.name for path in home.all_predictions.glob(f"*/{generation}.parquet"))


def withdraw(home: Home, video: str) -> None:
    """Delete what was said to a video, whose rows are others now, so that whichever generation
    speaks looks again, and its report is written anew."""
    for table in (home.all_predictions / video).glob("*.parquet"):
        path = home.metrics(table.stem)
        if path.exists():
            metrics = read_json(path)
            others = [other for other in metrics["predicted"] if other != video]
            write_json(path, {**metrics, "predicted": others})
    remove(home.all_predictions / video)


def spoken_over(home: Home, generation: str) -> list[str]:
    """The videos that a generation has laid its voice over, by key."""
    return sorted(path.parent.name for path in home.all_predictions.glob(f"*/{generation}.mp4"))


def standing(home: Home, video: str) -> str:
    """The generation whose predictions of a video stand: the one that speaks, where it has any
    yet, else the one that looked last.

    Raises:
        UnknownGeneration: none has looked at it.
    """
    tables = home.all_predictions / video
    speaks = generations.current(home)
    if speaks and (tables / f"{speaks.sha}.parquet").exists():
        return speaks.sha
    looked = sorted(tables.glob("*.parquet"), key=lambda table: table.stat().st_mtime)
    if not looked:
        raise UnknownGeneration(
            f"No generation has looked at {video} yet; materialize its predictions first."
        )
    return looked[-1].stem


def _table(times_s: np.ndarray, recollection: "Recollection", mimic: "Mimic") -> pa.Table:
    memory, generation = mimic.remembering, mimic.generation
    said = recollection.novelty <= generation.threshold
    clip = recollection.clips
    leaning = [
        [
            {
                "video": memory.frame_videos[row],
                "time_s": memory.frame_times_s[row],
                "similarity": similarity,
            }
            for row, similarity in zip(rows, similarities, strict=True)
        ]
        for rows, similarities in zip(recollection.frames, recollection.similarity, strict=True)
    ]
    columns = {
        "time_s": times_s,
        "said": said,
        "confidence": recollection.confidence.astype(np.float32),
        "novelty": recollection.novelty.astype(np.float32),
        "sound": pa.nulls(len(said), pa.string()),
        "clip_video": memory.clip_videos[clip],
        "clip_start_s": memory.clip_starts_s[clip],
        "clip_end_s": memory.clip_ends_s[clip],
        "frames": leaning,
        "generation": [generation.sha] * len(said),
        **{
            name: [getattr(generation, name)] * len(said)
            for name in (
                "image_encoder",
                "mel_autoencoder",
                "word_autoencoder",
                "associator",
                "manifest",
            )
        },
    }
    return pa.table(columns, schema=PREDICTIONS)
