"""The jobs: take a video in, learn, watch videos and speak, evaluate."""

import dagster as dg

from aela_dagster.watch import watch
from resources.compute import ALL, TRAINS_TAG

KIND_TAG = "aela/kind"  # of which only so many runs at a time, see `aela_dagster.runs`
INGEST = {KIND_TAG: "ingest"}

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets("frames", "clips"),
    description="Frames and clips of one video.",
    tags=INGEST,
)
ingest_and_watch = dg.define_asset_job(
    "ingest_and_watch",
    selection=dg.AssetSelection.assets("frames", "clips", "predictions", "spoken_video"),
    description="Frames and clips of one video, and at once what the current generation says.",
    tags=INGEST,
)
learn = dg.define_asset_job(
    "learn",
    selection=dg.AssetSelection.assets(
        "memory",
        "image_encoder",
        "image_embeddings",
        "mel_autoencoder",
        "word_autoencoder",
        "word_embeddings",
        "pairs",
        "associator",
        "generation",
    ),
    description="Train all four models in a row on everything remembered, publish a generation.",
    tags={TRAINS_TAG: ALL},
)
learn_sight = dg.define_asset_job(
    "learn_sight",
    # Embedded here already: hearing, which takes longer, still learns beside it.
    selection=dg.AssetSelection.assets("memory", "image_encoder", "image_embeddings"),
    description="Train the image encoder on everything remembered, and embed what it saw.",
    tags={TRAINS_TAG: "image_encoder"},
)
learn_hearing = dg.define_asset_job(
    "learn_hearing",
    selection=dg.AssetSelection.assets("memory", "mel_autoencoder"),
    description="Train the mel autoencoder on everything remembered.",
    tags={TRAINS_TAG: "mel_autoencoder"},
)
learn_words = dg.define_asset_job(
    "learn_words",
    selection=dg.AssetSelection.assets("word_autoencoder"),
    description="Train the word autoencoder on what the mel autoencoder has learned from.",
    tags={TRAINS_TAG: "word_autoencoder"},
)
learn_association = dg.define_asset_job(
    "learn_association",
    # What it embeds may be of any earlier run, also of one that ended half-way.
    selection=dg.AssetSelection.assets(
        "image_embeddings", "word_embeddings", "pairs", "associator", "generation"
    ),
    description="Join what sight and hearing both know, and publish a generation.",
    tags={TRAINS_TAG: "associator"},
)
evaluate = dg.define_asset_job(
    "evaluate",
    selection=dg.AssetSelection.assets("image_decoder", "evaluation", "report"),
    description="Measure the current generation and write its report.",
)
TRAINING = {
    "image_encoder": learn_sight,
    "mel_autoencoder": learn_hearing,
    "word_autoencoder": learn_words,
    "associator": learn_association,
}
"""The job that trains a model."""
JOBS = [ingest, ingest_and_watch, learn, *TRAINING.values(), watch, evaluate]
