"""The code location: everything Dagster needs to know. Loads no network and no codec."""

import os

import dagster as dg

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

the_memory = Memory()

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
        "compute": Compute(
            preset=os.environ.get("AELA_PRESET", DEFAULT_PRESET),
            effort=float(os.environ.get("AELA_EFFORT", "1")),
            device=os.environ.get("AELA_DEVICE", "auto"),
        ),
    },
    # Steps in one process: no start-up paid per step; trainers have processes of their own.
    executor=dg.in_process_executor,
)
