"""Novelty: how far an image is from memory. Above the threshold the system stays silent."""

import numpy as np

from aela.learning import embeddings
from aela.memory import manifest as manifests
from aela.mimicry.settings import MimicrySettings
from aela.storage import Home


def nearest(similarity: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest entries of each row of [n, m], largest first: columns and values."""
    count = min(count, similarity.shape[1])
    columns = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(similarity, columns, axis=1)
    order = np.argsort(-values, axis=1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def novelty(images: np.ndarray, memory: np.ndarray, neighbours: int) -> np.ndarray:
    """Mean cosine distance of each image [n, d] to its nearest remembered frames [m, d]: 0 to 2."""
    return 1 - nearest(images @ memory.T, neighbours)[1].mean(axis=1)


def threshold(
    memory: np.ndarray, times_s: np.ndarray, videos: np.ndarray, settings: MimicrySettings
) -> float:
    """The novelty above which an image counts as unknown, from memory alone.

    Each remembered frame [m, d] is measured against memory without its own surroundings (frames of
    the same video less than `apart_s` away); the threshold is a quantile of what comes out.
    """
    similarity = memory @ memory.T
    near = np.abs(times_s[:, None] - times_s[None]) < settings.apart_s
    similarity[near & (videos[:, None] == videos[None])] = -np.inf
    comparable = np.isfinite(similarity).sum(axis=1) >= settings.neighbours
    if not comparable.any():
        return 2.0  # Too little memory to know what is new: nothing is.
    values = nearest(similarity[comparable], settings.neighbours)[1]
    return float(np.quantile(1 - values.mean(axis=1), settings.quantile))


def memory_threshold(
    home: Home, manifest_sha: str, image_encoder: str, settings: MimicrySettings
) -> float:
    """`threshold` of everything a manifest names, as `image_encoder` sees it."""
    manifest = manifests.read(home, manifest_sha)
    times, videos = [], []
    for index, (_, table) in enumerate(manifests.rows(home, manifest, "frame", ["time_s"])):
        times.append(table["time_s"].to_numpy())
        videos.append(np.full(len(table), index))
    memory, _ = embeddings.gather(home, image_encoder, manifest, "frame")
    return threshold(memory, np.concatenate(times), np.concatenate(videos), settings)
