"""The job `watch`: the current generation looks at many videos in one run.

Loading it costs seconds, so one run looks at many. It is a job of one op and not of the partitioned
assets, whose runs hold one partition, or a range of neighbours: it tells Dagster of each video as
the assets do, and a video that cannot be watched does not stop the others.
"""

import json

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from pydantic import Field

from aela.memory import store, videos
from aela.memory.forget import all_forgotten
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.mimicry.predict import predicted, spoken_over
from aela.storage import Home
from aela_dagster.records import VIDEOS_TAG
from assets import common
from assets.predictions import Made, links_of, load_mimic, predict_video, speak_over_video
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints
from resources.voice import Voice


class Watched(dg.Config):
    """What is watched."""

    videos: list[str] = Field(
        default=[], description="Keys; without any, all that were not watched yet."
    )


@dg.op(pool="watch", description="What the current generation says to each of some videos.")
def look(
    context: dg.OpExecutionContext,
    config: Watched,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
    voice: Voice,
) -> None:
    home, generation = memory.home, checkpoints.generation()
    wanted = config.videos or unwatched(home, generation)
    if VIDEOS_TAG not in context.run.tags:  # So that none of them is forgotten meanwhile.
        context.instance.add_run_tags(context.run_id, {VIDEOS_TAG: json.dumps(wanted)})
    with common.plain_failures():
        mimic = load_mimic(home, generation, compute)
    links = links_of(context.instance, generation)
    failed = {}
    for number, video in enumerate(wanted):
        if generations.current(home) != generation:
            context.log.info(f"Another generation speaks; {len(wanted) - number} are left to it.")
            break
        try:
            with common.plain_failures():
                _tell(context, video, "predictions", predict_video(home, video, mimic, links))
                spoken = speak_over_video(home, video, voice.original_volume)
                _tell(context, video, "spoken_video", spoken)
        except Exception as error:  # Whatever is wrong with one video, the others are watched.
            why = error.description if isinstance(error, dg.Failure) else repr(error)
            context.log.error(f"{video}: {why}", exc_info=not isinstance(error, dg.Failure))
            failed[video] = why
    if failed:
        raise dg.Failure(
            f"{len(failed)} of {len(wanted)} videos could not be watched: "
            + "; ".join(f"{video}: {why}" for video, why in failed.items()),
            allow_retries=False,
        )


def _tell(context: dg.OpExecutionContext, video: str, asset: str, made: Made | None) -> None:
    if made:
        context.log_event(
            dg.AssetMaterialization(
                asset_key=asset,
                partition=video,
                metadata=made.metadata,
                tags={DATA_VERSION_TAG: made.version},
            )
        )


def unwatched(home: Home, generation: Generation) -> list[str]:
    """The ingested `watch` videos that a generation has not looked at or not spoken over, newest
    first. What has no file cannot be spoken over, nor what leans on something forgotten."""
    there = {entry.video for entry in store.remembered(home, role="watch")}
    looked_at, spoken = (set(of(home, generation.sha)) for of in (predicted, spoken_over))
    if mute := there & looked_at - spoken:
        for record in all_forgotten(home).values():
            if generation.sha in record.generations:
                mute -= record.leaning.keys()
    return [
        video.video
        for video in reversed(videos.known(home, "watch"))
        if video.video in there - looked_at or (video.video in mute and video.file)
    ]


@dg.job(
    description="What the current generation says to many videos: those given in the config, else "
    "all that it has not watched yet."
)
def watch() -> None:
    look()
