"""The jobs: take a video in, learn from all of memory, watch a video and speak, evaluate."""

import dagster as dg

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets("frames", "clips"),
    description="Frames and clips of one video.",
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
    description="Train all four models on everything remembered and publish a generation.",
)
watch = dg.define_asset_job(
    "watch",
    selection=dg.AssetSelection.assets("predictions", "spoken_video"),
    description="What the current generation says to one video.",
)
evaluate = dg.define_asset_job(
    "evaluate",
    selection=dg.AssetSelection.assets("image_decoder", "evaluation", "report"),
    description="Measure the current generation and write its report.",
)
JOBS = [ingest, learn, watch, evaluate]
