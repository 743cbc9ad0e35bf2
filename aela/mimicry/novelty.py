"""Novelty: how far an image is from what is remembered. Above a threshold the system is silent.

What is remembered are the frames of videos in which something was said. Those of silent ones would
make known what nobody has named.
"""

import numpy as np

from aela.learning import embeddings
from aela.memory import manifest as manifests
from aela.mimicry.settings import MimicrySettings
from aela.storage import Home

HALFWAY = 0.5  # as near to remembered things as to the ground, which counts a little less
GROUND_COUNTS = 0.7  # power of the distance to the ground: 0 leaves it out, 1 weighs both alike
MOST_MEASURED = 1024  # remembered frames, spread evenly, that the threshold is set by; and ground
LEAST_PARTED = 0.5  # between things and ground, for the ground to have a say in the threshold
ROWS_AT_ONCE = 256


def nearest(similarity: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest entries of each row of [n, m], largest first: columns and values."""
    count = min(count, similarity.shape[1])
    columns = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(similarity, columns, axis=1)
    order = np.argsort(-values, axis=1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


def novelty(
    images: np.ndarray, memory: np.ndarray, ground: np.ndarray, neighbours: int
) -> np.ndarray:
    """How little images look like remembered things: 0 (a thing seen before) to 1 (bare ground).

    The mean cosine distance to the nearest remembered frames, relative to the sum of that and the
    distance to the nearest remembered ground, to the power of GROUND_COUNTS. Neither distance means
    much alone: a covered thing is far from all that is remembered, and an empty room may be near to
    one of its frames. An unknown thing is far from both, which is why the first counts more.

    Args:
        images: [n, d]; memory: [m, d], remembered frames; ground: [g, d], what was seen beside the
            things; all of unit length.
        neighbours: how many of each are near.
    """
    found = [np.zeros(0, np.float32)]
    for some in few_at_a_time(images):
        thing = _distance(some @ memory.T, neighbours)
        found.append(_relative(thing, _from_ground(some, ground, neighbours)))
    return np.concatenate(found)


def few_at_a_time(rows: np.ndarray) -> list[np.ndarray]:
    """Rows [n, ...] in parts of ROWS_AT_ONCE: compared with all of memory at once, those of a long
    video would need gigabytes."""
    return np.split(rows, range(ROWS_AT_ONCE, len(rows), ROWS_AT_ONCE))


def _distance(similarity: np.ndarray, neighbours: int) -> np.ndarray:
    """Mean cosine distance to the nearest, of cosines [n, m]."""
    return 1 - nearest(similarity, neighbours)[1].mean(axis=1)


def _from_ground(images: np.ndarray, ground: np.ndarray, neighbours: int) -> np.ndarray:
    if not len(ground):
        return np.ones(len(images), np.float32)  # as far as pictures that have nothing in common
    return _distance(images @ ground.T, neighbours)


def _relative(thing: np.ndarray, ground: np.ndarray) -> np.ndarray:
    return thing / np.maximum(thing + ground.clip(min=0) ** GROUND_COUNTS, 1e-6)


def threshold(
    memory: np.ndarray,
    ground: np.ndarray,
    times_s: np.ndarray,
    videos: np.ndarray,
    ground_videos: np.ndarray,
    settings: MimicrySettings,
) -> float:
    """The novelty above which an image counts as unknown, from memory alone.

    Remembered frames of [m, d], at most MOST_MEASURED, are measured against memory without their
    own surroundings (frames of the same video less than `apart_s` away); the threshold is a
    quantile of what comes out. Where many of them are hard to recognise, that would take bare
    ground for known: it is never above what parts them best from the ground that was seen beside
    things in other videos. Nor above HALFWAY: what is nearer to bare ground than to anything
    remembered is not known.
    """
    known = met_anew(memory, ground, times_s, videos, settings)
    if not len(known):  # Too little memory to know which things are new: none is.
        return HALFWAY if len(ground) else 1.0
    bare = ground_met_anew(memory, videos, ground, ground_videos, settings.neighbours)
    return min(HALFWAY, float(np.quantile(known, settings.quantile)), _parting(known, bare))


def _parting(known: np.ndarray, bare: np.ndarray) -> float:
    """The novelty at which the share of the known below it exceeds that of the bare ground most
    (Youden 1950, "Index for Rating Diagnostic Tests"), infinite where it does by little."""
    if not len(bare):
        return np.inf
    values = np.sort(known)
    parted = np.arange(1, len(values) + 1) / len(values)
    parted -= np.searchsorted(np.sort(bare), values, side="right") / len(bare)
    best = parted.argmax()
    return float(values[best]) if parted[best] > LEAST_PARTED else np.inf


def met_anew(
    memory: np.ndarray,
    ground: np.ndarray,
    times_s: np.ndarray,
    videos: np.ndarray,
    settings: MimicrySettings,
) -> np.ndarray:
    """The novelty [n] of remembered frames as if they were met anew: as `threshold` measures it."""
    rows = _measured(len(memory))
    values = [
        _left_out(memory, ground, times_s, videos, some, settings) for some in few_at_a_time(rows)
    ]
    return np.concatenate(values)


def ground_met_anew(
    memory: np.ndarray,
    videos: np.ndarray,
    ground: np.ndarray,
    ground_videos: np.ndarray,
    neighbours: int,
) -> np.ndarray:
    """The novelty [n] of what lay beside the things, to memory without the video that it is of.

    Args:
        videos, ground_videos: [m] and [g], of which video the rows of memory [m, d] and ground
            [g, d] are.
    """
    found = [np.zeros(0, np.float32)]
    for rows in few_at_a_time(_measured(len(ground))) if len(ground) else []:
        own = ground_videos[rows, None]
        thing, room = ground[rows] @ memory.T, ground[rows] @ ground.T
        thing[own == videos] = -np.inf
        room[own == ground_videos] = 0  # as if it had nothing in common
        comparable = np.isfinite(thing).sum(axis=1) >= neighbours
        if comparable.any():
            from_thing, from_ground = (
                _distance(of[comparable], neighbours) for of in (thing, room)
            )
            found.append(_relative(from_thing, from_ground))
    return np.concatenate(found)


def _measured(count: int) -> np.ndarray:
    """At most MOST_MEASURED of so many rows, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_MEASURED), dtype=int))


def _left_out(
    memory: np.ndarray,
    ground: np.ndarray,
    times_s: np.ndarray,
    videos: np.ndarray,
    rows: np.ndarray,
    settings: MimicrySettings,
) -> np.ndarray:
    """The novelty of some remembered frames to memory without their surroundings, of those to which
    that leaves enough."""
    similarity = memory[rows] @ memory.T
    near = np.abs(times_s[rows, None] - times_s[None]) < settings.apart_s
    similarity[near & (videos[rows, None] == videos[None])] = -np.inf
    comparable = np.isfinite(similarity).sum(axis=1) >= settings.neighbours
    if not comparable.any():
        return np.zeros(0)
    thing = _distance(similarity[comparable], settings.neighbours)
    seen = memory[rows[comparable]]
    return _relative(thing, _from_ground(seen, ground, settings.neighbours))


def memory_threshold(
    home: Home, manifest_sha: str, image_encoder: str, settings: MimicrySettings
) -> float:
    """`threshold` of what can be recalled of a manifest, as `image_encoder` sees it."""
    manifest = manifests.read(home, manifest_sha).named
    times, videos = [], []
    for index, (_, table) in enumerate(manifests.rows(home, manifest, "frame", ["time_s"])):
        times.append(table["time_s"].to_numpy())
        videos.append(np.full(len(table), index))
    memory, _ = embeddings.gather(home, image_encoder, manifest, "frame")
    ground, first = embeddings.gather(home, image_encoder, manifest, "ground")
    beside = np.repeat(np.arange(len(first)), np.diff([*first.values(), len(ground)]))
    return threshold(
        memory, ground, np.concatenate(times), np.concatenate(videos), beside, settings
    )
