"""The code location: everything Dagster needs to know. Loads no network and no codec."""

import os
from typing import TypeVar

import dagster as dg
from pydantic import ValidationError

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
from resources.voice import Voice

Resource = TypeVar("Resource", bound=dg.ConfigurableResource)


def _as_set(resource: type[Resource], *fields: str) -> Resource:
    """A resource whose fields are what the environment says, `AELA_MAX_PIXELS` for `max_pixels`.

    Raises:
        ValueError: a variable holds what its field cannot be.
    """
    variables = {field: f"AELA_{field.upper()}" for field in fields}
    given = {field: text for field, name in variables.items() if (text := os.environ.get(name))}
    try:
        return resource(**given)
    except ValidationError as error:
        wrong = error.errors()[0]
        name, why = variables[str(wrong["loc"][0])], wrong["msg"][:1].lower() + wrong["msg"][1:]
        raise ValueError(f"{name} is {wrong['input']!r}: {why}.") from None


the_memory = _as_set(Memory, "max_pixels", "max_seconds")
the_schedule = _as_set(
    Schedule, "least_frames", "least_clips", "new_frames", "new_clips", "patience_s", "gather_s"
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
        "compute": _as_set(Compute, "preset", "effort", "device"),
        "voice": _as_set(Voice, "original_volume"),
    },
    # Steps in one process: no start-up paid per step; trainers have processes of their own.
    executor=dg.in_process_executor,
)
