"""Predictions: what one generation says to each frame of a video, with the way back to memory."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aela.memory import store
from aela.storage import Home, atomic, write_bytes

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


def predict(
    home: Home,
    video: str,
    mimic: "Mimic",
    *,
    aloud: bool = True,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> pa.Table:
    """Look at every frame that memory keeps of `video`, write and return the predictions.

    The sounds lie beside the table, one FLAC file per row that speaks; the table is written last.

    Args:
        aloud: make the sounds; without them `sound` is null everywhere.

    Raises:
        UnknownVideo: the video was not ingested.
    """
    frames = store.read_frames(home, video)
    path = home.predictions(video, mimic.generation.sha)
    if len(frames) == 0:
        table = PREDICTIONS.empty_table()
    else:
        recollection = mimic.recall(frames)
        said = recollection.novelty <= mimic.generation.threshold
        sounds: list[str | None] = [None] * len(frames)
        speaking = np.flatnonzero(said) if aloud else np.zeros(0, int)
        for start in range(0, len(speaking), SOUNDS_AT_A_TIME):
            rows = speaking[start : start + SOUNDS_AT_A_TIME]
            spoken = mimic.speak(recollection.codes[rows])
            for row, samples in zip(rows, spoken, strict=True):
                sound = path.with_suffix("") / f"{row:05d}.flac"
                write_bytes(sound, store.to_flac(samples))
                sounds[row] = home.relative(sound)
            progress(start + len(rows), len(speaking))
        table = _table(frames["time_s"].to_numpy(), said, sounds, recollection, mimic)
    table = table.replace_schema_metadata({"video": video})
    with atomic(path) as file:
        pq.write_table(table, file)
    return table


def read_predictions(home: Home, video: str, generation: str) -> pa.Table:
    """The predictions table, with the columns of `PREDICTIONS`."""
    with home.predictions(video, generation).open("rb") as file:
        return pq.read_table(file)


def predicted(home: Home, generation: str) -> list[str]:
    """The videos that a generation has predictions of, by key."""
    return sorted(path.parent.name for path in home.all_predictions.glob(f"*/{generation}.parquet"))


def _table(
    times_s: np.ndarray,
    said: np.ndarray,
    sounds: list[str | None],
    recollection: "Recollection",
    mimic: "Mimic",
) -> pa.Table:
    memory, generation = mimic.remembering, mimic.generation
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
        "sound": sounds,
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
