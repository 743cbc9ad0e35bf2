"""The three jobs: take a video in, learn from all of memory, watch a video and speak."""

import dagster as dg

IN_PROCESS = {"execution": {"config": {}}}

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets("frames", "clips"),
    description="Frames and clips of one video.",
)
learn = dg.define_asset_job(
    "learn",
    selection=dg.AssetSelection.assets("memory").downstream()
    - dg.AssetSelection.assets("predictions", "spoken_video"),
    description="Train all four models on everything remembered and publish a generation.",
)
watch = dg.define_asset_job(
    "watch",
    selection=dg.AssetSelection.assets("predictions", "spoken_video"),
    description="What the current generation says to one video.",
)
JOBS = [ingest, learn, watch]
