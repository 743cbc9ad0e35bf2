"""What the system says to a video, and the video with its voice laid over it."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg
import numpy as np
import pyarrow as pa

from aela.memory import store, videos
from aela.memory.manifest import ChangedMemory
from aela.mimicry import predict as predictions_of
from assets import common, lineage
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints

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
    from aela.evaluation import pictures
    from aela.mimicry.recall import Mimic

    home, video = memory.home, context.partition_key
    generation = checkpoints.generation()
    with common.plain_failures():
        mimic = Mimic.load(home, generation, compute.settings.mimicry, compute.torch_device())
        table = predictions_of.predict(home, video, mimic)
        frames = store.read_frames(home, video, ["jpeg"])
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
        **lineage.back(
            context.instance,
            {
                "generation": ("generation", generation.sha),
                "manifest": ("memory", generation.manifest),
            },
        ),
    }
    if len(table):
        metadata["mean_novelty"] = dg.MetadataValue.float(float(np.mean(table["novelty"])))
        rows = pictures.evenly(len(table), SHOWN)
        shown = table.take(rows).to_pylist()
        captions = [
            f"{row['time_s']:.0f} s: {row['clip_video'].rsplit('-', 1)[0]} "
            f"{row['clip_start_s']:.0f} s"
            if row["said"]
            else f"{row['time_s']:.0f} s: silent"
            for row in shown
        ]
        sheet = pictures.contact_sheet(frames.take(rows)["jpeg"].to_pylist(), captions)
        metadata["what_it_saw_and_which_word_it_remembered"] = common.picture(sheet)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(_version(generation.sha, table)), metadata=metadata
    )


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
    context: dg.AssetExecutionContext, memory: Memory, checkpoints: Checkpoints
) -> Iterator[dg.MaterializeResult]:
    from aela.mimicry.spoken_video import make_spoken_video

    home, key = memory.home, context.partition_key
    with common.plain_failures():
        video = videos.find(home, key)
    if video.file is None:
        context.log.info(f"{key} was recorded live and has no file to lay a voice over.")
        return
    generation = checkpoints.generation()
    target = home.predictions(key, generation.sha).with_suffix(".mp4")
    if not home.predictions(key, generation.sha).exists():
        raise dg.Failure(
            f"The current generation has no predictions of {key} yet; materialize them first.",
            allow_retries=False,
        )
    with common.plain_failures():
        table = predictions_of.read_predictions(home, key, generation.sha)
        gone = predictions_of.forgotten_in(home, table)
        if gone:
            raise ChangedMemory(
                f"The predictions of {key} lean on {', '.join(gone)}, forgotten since; materialize "
                "the asset predictions of it again first."
            )
        with videos.local_copy(home, video) as source:
            make_spoken_video(source, table, home, target)
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(_version(generation.sha, table)),
        metadata={
            "generation": generation.sha,
            "path": dg.MetadataValue.path(str(target)),
            "bytes": target.stat().st_size,
        },
    )
