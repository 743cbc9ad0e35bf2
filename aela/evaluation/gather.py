"""Gathers what the report shows from a home: memory, checkpoints, predictions, pictures, sounds."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from upath import UPath

from aela.evaluation import pictures
from aela.evaluation.evaluate import Evaluation
from aela.evaluation.forgetting import forgetting
from aela.evaluation.moment_map import map_moments
from aela.evaluation.pictures import evenly
from aela.evaluation.report import Glance, Labelled, ReportData, WatchedVideo
from aela.evaluation.report.watched import Answer
from aela.evaluation.silence import most_novel, novelties
from aela.evaluation.statistics import statistics
from aela.evaluation.vocabulary import discover
from aela.evaluation.window import look_through, place
from aela.learning import checkpoints
from aela.learning.checkpoints import MODELS
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.store import Remembered
from aela.mimicry.certainty import Certainty, certainty
from aela.mimicry.generation import Generation
from aela.mimicry.predict import predicted, read_predictions
from aela.mimicry.recall import Mimic
from aela.storage import Home
from aela.vision.decoder import ImageDecoder, current_image_decoder

MOST_GLANCES = 240  # in all videos together
MOST_WATCHED = 40  # videos
TITLES = {
    "image": "what it sees",
    "word": "what it hears",
    "predicted": "the word it predicts from what it sees",
}

Looks = Mapping[str, list[dict[str, Any]]]
"""The rows of prediction tables, by video."""


def matrices(evaluation: Evaluation) -> dict[str, bytes]:
    """Pictures of the distance matrices by sense."""
    return {
        sense: pictures.distance_matrix(distances, evaluation.train, TITLES[sense])
        for sense, distances in evaluation.distances.items()
    }


def gather(
    home: Home,
    mimic: Mimic,
    evaluation: Evaluation,
    distances: dict[str, bytes],
    decoder: ImageDecoder,
    labelled: Labelled | None = None,
) -> ReportData:
    """Everything the report shows about one generation.

    Args:
        evaluation: of the same generation; distances: its `matrices`.
        decoder: of its image encoder.
        labelled: what labels tell, if there are any.
    """
    generation = mimic.generation
    memory = store.remembered(home)
    cards = [checkpoints.read(home, model, getattr(generation, model)).card for model in MODELS]
    drawn_by = current_image_decoder(home, generation.image_encoder, generation.manifest)
    if drawn_by:
        cards.append(drawn_by.card)
    videos = predicted(home, generation.sha)
    shown = [videos[number] for number in evenly(len(videos), MOST_WATCHED)]
    looks = {video: read_predictions(home, video, generation.sha).to_pylist() for video in shown}
    vocabulary = discover(home, mimic)
    album = _Album(home, generation)
    return ReportData(
        generation=generation.sha,
        manifest=generation.manifest,
        created=generation.created,
        memory=memory,
        sizes={
            "frames": _size(memory, home.frames),
            "clips": _size(memory, home.clips),
        },
        statistics=statistics(home, [entry for entry in memory if "learn" in entry.roles]),
        vocabulary=vocabulary,
        moments=map_moments(home, evaluation, vocabulary),
        curves={card.model: card.curve for card in cards},
        sign_accuracy=evaluation.sign_accuracy,
        labelled=labelled,
        distances={TITLES[sense]: png for sense, png in distances.items()},
        window=look_through(home, mimic, decoder, evaluation.watched),
        watched=_watched(album, looks),
        unshown=len(videos) - len(shown),
        novelties=novelties(mimic, looks),
        silent=[(video, album.glance(video, row)) for video, row in most_novel(looks)],
        forgetting=forgetting(home, generation),
    )


def _size(memory: list[Remembered], path: Callable[[str], UPath]) -> int:
    return sum(path(entry.video).stat().st_size for entry in memory)


def _watched(album: "_Album", looks: Looks) -> list[WatchedVideo]:
    share = min(1.0, MOST_GLANCES / max(1, sum(len(rows) for rows in looks.values())))
    watched = []
    for video, rows in looks.items():
        answers: list[Answer] = [
            (row["time_s"], album.certainty(row), row["confidence"]) for row in rows
        ]
        chosen = evenly(len(rows), max(1, round(share * len(rows))))
        glances = [album.glance(video, rows[number]) for number in chosen]
        watched.append(WatchedVideo(video, answers, glances))
    return watched


class _Album:
    """Looks up what one generation's predictions show."""

    def __init__(self, home: Home, generation: Generation) -> None:
        self.home = home
        self.threshold = generation.threshold
        self.rows = cache(self._rows)

    def certainty(self, row: dict[str, Any]) -> Certainty:
        return certainty(row["confidence"], row["novelty"], self.threshold)

    def glance(self, video: str, row: dict[str, Any]) -> Glance:
        """One row of the prediction table of a video, with its pictures and sound."""
        nearest = row["frames"][0]
        sound = (self.home.root / row["sound"]).read_bytes() if row["sound"] else None
        picture = self._jpeg(video, row["time_s"])
        assert picture is not None  # What was forgotten has no predictions.
        return Glance(
            row["time_s"],
            picture,
            self.certainty(row),
            row["confidence"],
            row["novelty"],
            place(row["clip_video"], row["clip_start_s"]),
            self._jpeg(nearest["video"], nearest["time_s"]),
            store.from_flac(sound) if sound else None,
        )

    def _jpeg(self, video: str, time_s: float) -> bytes | None:
        """The frame at a time; None of a forgotten video."""
        row = self.rows(video).get(time_s)
        return (
            None
            if row is None
            else store.read_row(self.home, video, "frame", row, ["jpeg"])["jpeg"]
        )

    def _rows(self, video: str) -> dict[float, int]:
        if manifests.forgotten(self.home, video):
            return {}
        times = store.read_frames(self.home, video, ["time_s"])["time_s"].to_pylist()
        return {time_s: row for row, time_s in enumerate(times)}
