"""Gathers what the report shows from a home: memory, checkpoints, predictions, pictures, sounds."""

from functools import cache

import numpy as np

from aela.association.pairs import read_pairs
from aela.evaluation import pictures
from aela.evaluation.evaluate import Evaluation
from aela.evaluation.pictures import evenly
from aela.evaluation.report import Glance, LearnedWord, ReportData, WatchedVideo
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import MODELS
from aela.memory import store
from aela.mimicry.predict import predicted, read_predictions
from aela.mimicry.recall import Mimic
from aela.storage import Home

MOST_WORDS = 24
MOST_PICTURES = 3  # of one word
MOST_GLANCES = 360  # in all videos together
MOST_ON_MAP = 300


def gather(
    home: Home, mimic: Mimic, evaluation: Evaluation, distances: dict[str, bytes]
) -> ReportData:
    """Everything the report shows about one generation.

    Args:
        distances: pictures of the distance matrices by title.
    """
    generation = mimic.generation
    memory = store.remembered(home)
    return ReportData(
        generation=generation.sha,
        manifest=generation.manifest,
        created=generation.created,
        memory=memory,
        sizes={
            "frames": _size(home, memory, home.frames),
            "clips": _size(home, memory, home.clips),
        },
        words=_words(home, mimic),
        curves={
            model: checkpoints.read(home, model, getattr(generation, model)).card.curve
            for model in MODELS
        },
        sign_accuracy=evaluation.sign_accuracy,
        distances=distances,
        maps=_maps(home, mimic),
        watched=_watched(home, generation.sha),
    )


def _size(home: Home, memory: list[store.Remembered], path) -> int:
    return sum(path(entry.video).stat().st_size for entry in memory)


def _words(home: Home, mimic: Mimic) -> list[LearnedWord]:
    """Remembered clips with what was seen with them and how the system says them now."""
    pairs = read_pairs(home, mimic.generation.pairs).to_pandas()
    heard = pairs.sort_values("distance_s").groupby(["video", "clip"])["frame"].apply(list)
    if heard.empty:
        return []
    chosen = [heard.index[row] for row in evenly(len(heard), MOST_WORDS)]
    codes = np.stack(
        [
            embeddings.read(home, mimic.generation.word_autoencoder, video)[clip]
            for video, clip in chosen
        ]
    )
    words = []
    for (video, clip), generated in zip(chosen, mimic.speak(codes), strict=True):
        row = store.read_row(home, video, "clip", clip)
        frames = [
            store.read_row(home, video, "frame", frame)["jpeg"]
            for frame in heard[video, clip][:MOST_PICTURES]
        ]
        name = f"{video} at {row['start_s']:.1f} s"
        words.append(LearnedWord(name, frames, store.from_flac(row["flac"]), generated))
    return words


def _maps(home: Home, mimic: Mimic) -> dict[str, bytes]:
    remembering = mimic.remembering
    rows = evenly(len(remembering.images), MOST_ON_MAP)
    if len(rows) < 3:
        return {}
    videos = remembering.frame_videos
    first = {video: row for row, video in reversed(list(enumerate(videos)))}
    jpegs = [
        store.read_row(home, videos[row], "frame", row - first[videos[row]])["jpeg"] for row in rows
    ]
    seen = pictures.embedding_map(remembering.images[rows], jpegs)
    return {"remembered frames": seen}


def _watched(home: Home, generation: str) -> list[WatchedVideo]:
    @cache
    def jpegs(video: str) -> dict[float, bytes]:
        frames = store.read_frames(home, video, ["time_s", "jpeg"])
        return dict(zip(frames["time_s"].to_pylist(), frames["jpeg"].to_pylist(), strict=True))

    videos = predicted(home, generation)
    tables = {video: read_predictions(home, video, generation).to_pylist() for video in videos}
    share = MOST_GLANCES / max(1, sum(len(rows) for rows in tables.values()))
    watched = []
    for video, rows in tables.items():
        glances = []
        for number in evenly(len(rows), max(1, round(min(1.0, share) * len(rows)))):
            row = rows[number]
            nearest = row["frames"][0]
            sound = (home.root / row["sound"]).read_bytes() if row["sound"] else None
            glances.append(
                Glance(
                    row["time_s"],
                    jpegs(video)[row["time_s"]],
                    row["said"],
                    row["confidence"],
                    row["novelty"],
                    f"{row['clip_video']} at {row['clip_start_s']:.1f} s",
                    jpegs(nearest["video"]).get(nearest["time_s"]),
                    store.from_flac(sound) if sound else None,
                )
            )
        watched.append(WatchedVideo(video, glances))
    return watched
