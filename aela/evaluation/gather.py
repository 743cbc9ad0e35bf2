"""Gathers what the report shows from a home: memory, checkpoints, predictions, pictures, sounds."""

from functools import cache

import numpy as np
import pyarrow as pa

from aela.association.pairs import read_pairs
from aela.evaluation import pictures
from aela.evaluation.evaluate import Evaluation
from aela.evaluation.pictures import evenly
from aela.evaluation.report import Glance, Labelled, LearnedWord, ReportData, WatchedVideo
from aela.evaluation.window import look_through, numbers, place
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import MODELS
from aela.memory import manifest as manifests
from aela.memory import store
from aela.mimicry.predict import predicted, read_predictions
from aela.mimicry.recall import Mimic
from aela.storage import Home
from aela.vision.decoder import ImageDecoder, current_image_decoder, seen_on_grey
from aela.vision.settings import ImageEncoderSettings

MOST_WORDS = 24
MOST_PICTURES = 3  # of one word
MOST_GLANCES = 360  # in all videos together
MOST_ON_MAP = 300
TITLES = {
    "image": "what it sees",
    "word": "what it hears",
    "predicted": "the word it predicts from what it sees",
}


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
        curves={card.model: card.curve for card in cards},
        sign_accuracy=evaluation.sign_accuracy,
        labelled=labelled,
        distances=list(distances.values()),
        maps=_maps(home, mimic),
        window=look_through(home, mimic, decoder, evaluation.watched),
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
        name = place(video, row["start_s"])
        words.append(LearnedWord(name, frames, store.from_flac(row["flac"]), generated))
    return words


def _maps(home: Home, mimic: Mimic) -> dict[str, bytes]:
    """Frames and clips laid out by likeness; a clip is shown as what was seen with it."""
    remembering, settings = mimic.remembering, mimic.encoder.settings
    places = list(zip(remembering.frame_videos, numbers(remembering.frame_videos), strict=True))
    frames = [places[row] for row in evenly(len(places), MOST_ON_MAP)]
    pairs = read_pairs(home, mimic.generation.pairs).to_pandas().sort_values("distance_s")
    moments = pairs.drop_duplicates(["video", "clip"]).sort_values(["video", "clip"])
    moments = moments.iloc[evenly(len(moments), MOST_ON_MAP)]
    seen_with = list(zip(moments["video"], moments["frame"], strict=True))
    heard = list(zip(moments["video"], moments["clip"], strict=True))
    drawn: dict[str, bytes] = {}
    for title, checkpoint, items, shown in (
        ("what it sees: remembered frames", mimic.generation.image_encoder, frames, frames),
        ("what it hears: remembered words", mimic.generation.word_autoencoder, heard, seen_with),
    ):
        if len(items) < 3:
            continue
        of = {video: embeddings.read(home, checkpoint, video) for video in {v for v, _ in items}}
        values = np.stack([of[video][row] for video, row in items])
        drawn[title] = pictures.embedding_map(values, _looks(home, settings, shown))
    return drawn


def _looks(
    home: Home, settings: ImageEncoderSettings, places: list[tuple[str, int]]
) -> list[bytes]:
    """What the eye takes of each frame, a video and a row, as PNG."""
    rows: dict[str, list[int]] = {}
    for video, row in places:
        rows.setdefault(video, []).append(row)
    looks = {}
    for video, of_video in rows.items():
        frames = store.read_frames(home, video).take(pa.array(of_video))
        for row, look in zip(of_video, seen_on_grey(frames, settings), strict=True):
            looks[video, row] = pictures.png(look)
    return [looks[place] for place in places]


def _watched(home: Home, generation: str) -> list[WatchedVideo]:
    @cache
    def jpegs(video: str) -> dict[float, bytes]:
        if manifests.forgotten(home, video):
            return {}
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
                    place(row["clip_video"], row["clip_start_s"]),
                    jpegs(nearest["video"]).get(nearest["time_s"]),
                    store.from_flac(sound) if sound else None,
                )
            )
        watched.append(WatchedVideo(video, glances))
    return watched
