"""What the system says to a video, and the video with its voice laid over it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pyarrow as pa

from aela.memory import store, videos
from aela.memory.forget import unless_forgotten
from aela.memory.manifest import ChangedMemory
from aela.mimicry import generation as generations
from aela.mimicry import predict as predictions_of
from aela.mimicry.generation import Generation
from aela.storage import Home
from assets import common, lineage
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints
from resources.voice import Voice

if TYPE_CHECKING:  # Loading the code location needs no network.
    from aela.mimicry.recall import Mimic

SHOWN = 24

PREDICTION_COLUMNS = common.columns(
    {
        "time_s": ("double", "when it looked"),
        "said": ("bool", "whether it spoke"),
        "confidence": ("float", "likeness of the predicted word to the remembered one, 0 to 1"),
        "novelty": ("float", "unlikeness to remembered things, 0 to 1"),
        "sound": ("string", "FLAC file under AELA_HOME, null when silent"),
        "clip_video": ("string", "video of the nearest remembered clip"),
        "clip_start_s": ("double", "where that clip starts"),
        "clip_end_s": ("double", "where that clip ends"),
        "frames": ("list<struct>", "nearest remembered frames: video, time_s, similarity"),
        "generation": ("string", "hash of the generation that spoke"),
        "image_encoder": ("string", "checkpoint"),
        "mel_autoencoder": ("string", "checkpoint"),
        "word_autoencoder": ("string", "checkpoint"),
        "associator": ("string", "checkpoint"),
        "manifest": ("string", "hash of the memory that was learned from"),
    }
)


@dataclass(frozen=True)
class Made:
    """What Dagster is told of something made: its version and its metadata."""

    version: str
    metadata: dict[str, dg.MetadataValue]


def load_mimic(home: Home, generation: Generation, compute: Compute) -> "Mimic":
    """A generation, loaded to see and speak."""
    from aela.mimicry.recall import Mimic

    return Mimic.load(home, generation, compute.settings.mimicry, compute.torch_device())


@dg.asset(
    deps=["generation", "frames"],
    partitions_def=common.videos,
    group_name="mimicry",
    kinds={"pytorch", "parquet"},
    owners=common.OWNERS,
    retry_policy=common.RETRY_STORAGE,
    metadata={"dagster/column_schema": PREDICTION_COLUMNS},
    description="What one generation says to each frame of the video, and what it leans on.",
)
def predictions(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> dg.MaterializeResult:
    generation = checkpoints.generation()
    with common.plain_failures():
        mimic = load_mimic(memory.home, generation, compute)
        links = links_of(context.instance, generation)
        made = predict_video(memory.home, context.partition_key, mimic, links)
    return dg.MaterializeResult(data_version=dg.DataVersion(made.version), metadata=made.metadata)


def links_of(instance: dg.DagsterInstance, generation: Generation) -> dict[str, dg.MetadataValue]:
    """Links from what a generation says to the runs that made it and its memory."""
    versions = {"generation": ("generation", generation.sha)}
    return lineage.back(instance, {**versions, "manifest": ("memory", generation.manifest)})


def predict_video(
    home: Home, video: str, mimic: "Mimic", links: Mapping[str, dg.MetadataValue]
) -> Made:
    """Write the predictions for one video and describe them for the UI, with `links_of` them."""
    from aela.evaluation import pictures

    generation = mimic.generation
    table = predictions_of.predict(home, video, mimic)
    said = table["said"].to_numpy(zero_copy_only=False)
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(len(table)),
        "said": dg.MetadataValue.int(int(said.sum())),
        "silent": dg.MetadataValue.int(int((~said).sum())),
        "generation": dg.MetadataValue.text(generation.sha),
        "manifest": dg.MetadataValue.text(generation.manifest),
        "path": dg.MetadataValue.path(str(home.predictions(video, generation.sha))),
        "traced_back_by": dg.MetadataValue.text(f"aela trace {video}@SECONDS --page trace.html"),
        "leans_on": _leans_on(table),
        **links,
    }
    if len(table):
        metadata["mean_novelty"] = dg.MetadataValue.float(float(np.mean(table["novelty"])))
        rows = pictures.evenly(len(table), SHOWN)
        shown = table.take(rows).to_pylist()
        captions = [
            f"{row['time_s']:.0f} s: {videos.without_hash(row['clip_video'])} "
            f"{row['clip_start_s']:.0f} s"
            if row["said"]
            else f"{row['time_s']:.0f} s: silent"
            for row in shown
        ]
        frames = store.read_rows(home, video, "frame", rows, ["jpeg"])
        sheet = pictures.contact_sheet(frames["jpeg"].to_pylist(), captions)
        metadata["what_it_saw_and_which_word_it_remembered"] = common.picture(sheet)
    return Made(_version(generation.sha, table), metadata)


def _version(generation: str, table: pa.Table) -> str:
    """What predictions follow from: who looked, and at which rows of the video."""
    return f"{generation}:{predictions_of.made_of(table.schema)}"


def _leans_on(table: pa.Table) -> dg.MarkdownMetadataValue:
    """The videos whose moments are the nearest ones, and how often."""
    words = Counter(table["clip_video"].to_pylist())
    frames = Counter(near["video"] for row in table["frames"].to_pylist() for near in row)
    named = dict.fromkeys(video for video, _ in (words + frames).most_common())
    numbers = {video: [str(words[video]), str(frames[video])] for video in named}
    return lineage.videos_table(numbers, ["as nearest word", "as near frame"])


@dg.asset(
    deps=["predictions"],
    partitions_def=common.videos,
    group_name="mimicry",
    kinds={"moviepy"},
    owners=common.OWNERS,
    retry_policy=common.RETRY_STORAGE,
    output_required=False,
    description="The video again, with the system's voice and what it remembered laid over it; "
    "none of what was recorded live, which has no file.",
)
def spoken_video(
    context: dg.AssetExecutionContext, memory: Memory, voice: Voice
) -> Iterator[dg.MaterializeResult]:
    with common.plain_failures():
        made = speak_over_video(memory.home, context.partition_key, voice.original_volume)
    if made is None:
        context.log.info(
            f"{context.partition_key} was recorded live and has no file to speak over."
        )
        return
    yield dg.MaterializeResult(data_version=dg.DataVersion(made.version), metadata=made.metadata)


def speak_over_video(home: Home, key: str, original_volume: float) -> Made | None:
    """Write the spoken video and describe it for the UI; None of what has no file.

    Args:
        original_volume: share of the recorded sound that stays, 0 to 1.

    Raises:
        UnknownVideo: there is no such video.
        UnknownGeneration: there are no predictions of it.
        ChangedMemory: its predictions lean on what was forgotten since, or something was forgotten
            while it was made.
    """
    from aela.mimicry.spoken_video import make_spoken_video

    video = videos.find(home, key)
    if video.file is None:
        return None
    # Another generation may be published, or come back, between predictions and this.
    generation = predictions_of.standing(home, key)
    target = home.spoken_video(key, generation)
    with unless_forgotten(home, target):
        table = predictions_of.read_predictions(home, key, generation)
        gone = predictions_of.forgotten_in(home, table)
        if gone:
            raise ChangedMemory(
                f"The predictions of {key} lean on {', '.join(gone)}, forgotten since; materialize "
                "the asset predictions of it again first."
            )
        threshold = generations.read(home, generation).threshold
        with videos.local_copy(home, video) as source:
            make_spoken_video(source, table, threshold, home, target, original_volume)
    return Made(
        f"{_version(generation, table)}:{original_volume}",
        {
            "generation": dg.MetadataValue.text(generation),
            "original_volume": dg.MetadataValue.float(original_volume),
            "path": dg.MetadataValue.path(str(target)),
            "bytes": dg.MetadataValue.int(target.stat().st_size),
        },
    )
