"""The code location: everything Dagster needs to know. Loads no network and no codec."""

import os

import dagster as dg

from aela.capture import CaptureSettings
from aela.learning.schedule import Conditions
from aela.presets import DEFAULT_PRESET
from aela_dagster.checks import CHECKS
from aela_dagster.jobs import JOBS
from aela_dagster.sensors import SENSORS
from assets.association import associator, generation, pairs
from assets.evaluation import evaluation, image_decoder
from assets.memory import memory
from assets.models import (
    image_embeddings,
    image_encoder,
    mel_autoencoder,
    word_autoencoder,
    word_embeddings,
)
from assets.predictions import predictions, spoken_video
from assets.senses import senses
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints
from resources.schedule import Schedule
from resources.voice import ORIGINAL_VOLUME, Voice


def _number(variable: str, default: float) -> float:
    """The number in an environment variable.

    Raises:
        ValueError: it holds none.
    """
    text = os.environ.get(variable) or str(default)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{variable} must be a number, not {text!r}.") from None


the_memory = Memory(
    max_pixels=int(_number("AELA_MAX_PIXELS", CaptureSettings.max_pixels)),
    max_seconds=_number("AELA_MAX_SECONDS", CaptureSettings.max_seconds),
)
the_schedule = Schedule(
    least_frames=int(_number("AELA_LEAST_FRAMES", Conditions.least_frames)),
    least_clips=int(_number("AELA_LEAST_CLIPS", Conditions.least_clips)),
    new_frames=int(_number("AELA_NEW_FRAMES", Conditions.new_frames)),
    new_clips=int(_number("AELA_NEW_CLIPS", Conditions.new_clips)),
    patience_s=_number("AELA_PATIENCE_S", Conditions.patience_s),
    gather_s=_number("AELA_GATHER_S", Conditions.gather_s),
)

defs = dg.Definitions(
    assets=[
        senses,
        memory,
        image_encoder,
        mel_autoencoder,
        word_autoencoder,
        image_embeddings,
        word_embeddings,
        pairs,
        associator,
        generation,
        predictions,
        spoken_video,
        image_decoder,
        evaluation,
    ],
    asset_checks=CHECKS,
    jobs=JOBS,
    sensors=SENSORS,
    resources={
        "memory": the_memory,
        "checkpoints": Checkpoints(memory=the_memory),
        "schedule": the_schedule,
        "compute": Compute(
            preset=os.environ.get("AELA_PRESET", DEFAULT_PRESET),
            effort=_number("AELA_EFFORT", 1),
            device=os.environ.get("AELA_DEVICE", "auto"),
        ),
        "voice": Voice(original_volume=_number("AELA_ORIGINAL_VOLUME", ORIGINAL_VOLUME)),
    },
    # Steps in one process: no start-up paid per step; trainers have processes of their own.
    executor=dg.in_process_executor,
)
