"""Moments: which frame belongs with which clip, by nearness in time alone."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aela.learning.checkpoints import Checkpoint
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import Manifest
from aela.storage import Home, atomic, canonical_json, read_parquet, sha256

PAIRS = pa.schema(
    [
        ("video", pa.string()),
        ("frame", pa.int32()),  # row among the video's frames
        ("clip", pa.int32()),  # row among the video's clips
        ("distance_s", pa.float32()),
        ("weight", pa.float32()),
    ]
)
FRAMES_AT_ONCE = 1024  # of a long video


def find_pairs(
    frame_times_s: np.ndarray, clip_starts_s: np.ndarray, clip_ends_s: np.ndarray, window_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames and clips of one video at most `window_s` apart.

    The distance is from the frame to the nearest point of the clip, 0 while the word sounds.

    Returns:
        frame rows [p], clip rows [p], distances in seconds [p].
    """
    found = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    for first in range(0, len(frame_times_s), FRAMES_AT_ONCE):
        times = np.asarray(frame_times_s)[first : first + FRAMES_AT_ONCE, None]
        after = np.asarray(clip_starts_s)[None] - times
        before = times - np.asarray(clip_ends_s)[None]
        distance = np.maximum(0.0, np.maximum(after, before))
        frames, clips = np.nonzero(distance <= window_s)
        found.append((first + frames, clips, distance[frames, clips]))
    frames, clips, distances = (np.concatenate(part) for part in zip(*found, strict=True))
    return frames, clips, distances


def video_pairs(
    home: Home, video: str, window_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`find_pairs` of what memory holds of one video."""
    times = store.read_frames(home, video, ["time_s"])["time_s"].to_numpy()
    clips = store.read_clips(home, video, ["start_s", "end_s"])
    return find_pairs(times, clips["start_s"].to_numpy(), clips["end_s"].to_numpy(), window_s)


def weights(distances_s: np.ndarray, window_s: float) -> np.ndarray:
    """How sure a moment is: 1 while the word sounds, falling to 1/e at the window's edge."""
    return np.exp(-np.asarray(distances_s) / window_s)


def make_pairs(
    home: Home,
    manifest: Manifest,
    image_encoder: Checkpoint,
    word_autoencoder: Checkpoint,
    window_s: float,
) -> str:
    """Write the pairs table of a manifest and return its hash; an existing one is kept."""
    sha = sha256(canonical_json([manifest.sha, image_encoder.sha, word_autoencoder.sha, window_s]))
    path = home.pairs(sha)
    if path.exists():
        return sha
    tables = [PAIRS.empty_table()]
    for entry in manifest.entries:
        if not (entry.frames and entry.clips):
            continue
        frame, clip, distance = video_pairs(home, entry.video, window_s)
        columns = [[entry.video] * len(frame), frame, clip, distance, weights(distance, window_s)]
        tables.append(pa.table(columns, schema=PAIRS))
    with atomic(path) as file:
        pq.write_table(pa.concat_tables(tables), file, write_page_checksum=True)
    return sha


def read_pairs(home: Home, sha: str) -> pa.Table:
    """The pairs table of that hash, with the columns of `PAIRS`, without forgotten videos."""
    table = read_parquet(home.pairs(sha))
    videos = table["video"]
    kept = {v for v in videos.unique().to_pylist() if not manifests.forgotten(home, v)}
    return table.filter(pa.array([video in kept for video in videos.to_pylist()], pa.bool_()))
