"""What was seen joined to what was said: moments, the associator, and the generation of it all."""

import dagster as dg
import numpy as np

from aela.association.pairs import make_pairs, read_pairs
from aela.learning import checkpoints as saved
from aela.memory.manifest import Manifest
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from assets import common, lineage
from assets.models import train
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints


@dg.asset(
    deps=["image_embeddings", "word_embeddings"],
    group_name="association",
    kinds={"parquet"},
    owners=common.OWNERS,
    retry_policy=common.RETRY_STORAGE,
    description="Moments: which frame belongs with which clip, by nearness in time alone.",
)
def pairs(compute: Compute, memory: Memory, checkpoints: Checkpoints) -> dg.MaterializeResult:
    image_encoder = checkpoints.required("image_encoder")
    word_autoencoder = checkpoints.required("word_autoencoder")
    sha = make_pairs(
        memory.home,
        _common_manifest(checkpoints),
        image_encoder,
        word_autoencoder,
        compute.settings.associator.window_s,
    )
    table = read_pairs(memory.home, sha)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(sha),
        metadata={
            "dagster/row_count": len(table),
            "videos": len(set(table["video"].to_pylist())),
            "mean_distance_s": float(np.mean(table["distance_s"].to_numpy()))
            if len(table)
            else 0.0,
            "path": dg.MetadataValue.path(str(memory.home.pairs(sha))),
        },
    )


@dg.asset(
    deps=["pairs"],
    group_name="association",
    kinds={"pytorch"},
    owners=common.OWNERS,
    pool=common.TRAINER_POOL,
    description="MLP from an image embedding to the embedding of the word that was said with it.",
)
def associator(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> dg.MaterializeResult:
    manifest = _common_manifest(checkpoints)
    return train(context, compute, memory, "associator", manifest.sha)


@dg.asset(
    deps=["associator"],
    group_name="association",
    kinds={"json"},
    owners=common.OWNERS,
    description="The checkpoints and embeddings that belong together, published at once.",
)
def generation(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> dg.MaterializeResult:
    from aela.mimicry.novelty import memory_threshold

    associator = checkpoints.required("associator")
    inputs = associator.card.inputs
    # What the associator was trained on belongs together, whatever is current by now.
    words = saved.read(memory.home, "word_autoencoder", inputs["word_autoencoder"])
    previous = generations.current(memory.home)
    new = Generation(
        image_encoder=inputs["image_encoder"],
        mel_autoencoder=words.card.inputs["mel_autoencoder"],
        word_autoencoder=words.sha,
        associator=associator.sha,
        pairs=inputs["pairs"],
        manifest=associator.card.manifest,
        threshold=memory_threshold(
            memory.home,
            associator.card.manifest,
            inputs["image_encoder"],
            compute.settings.mimicry,
        ),
        parent=previous.sha if previous else None,
    )
    generations.publish(memory.home, new)
    for observation in lineage.told(memory.home, new):
        context.log_event(observation)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(new.sha),
        metadata={
            "generation": new.sha,
            "parent": new.parent or "none",
            "image_encoder": new.image_encoder,
            "mel_autoencoder": new.mel_autoencoder,
            "word_autoencoder": new.word_autoencoder,
            "associator": new.associator,
            "manifest": new.manifest,
            "novelty_threshold": new.threshold,
            "path": dg.MetadataValue.path(str(memory.home.generations / f"{new.sha}.json")),
            **lineage.of_generation(context.instance, new),
        },
    )


def _common_manifest(checkpoints: Checkpoints) -> Manifest:
    """The manifest that sight and hearing were both trained on.

    Raises:
        dagster.Failure: they were trained on different memories.
    """
    seen = checkpoints.required("image_encoder")
    heard = checkpoints.required("word_autoencoder")
    if seen.card.manifest != heard.card.manifest:
        raise dg.Failure(
            "The image encoder and the word autoencoder were trained on different memories; "
            "run the job `learn`, which trains both on the same.",
            allow_retries=False,
        )
    return checkpoints.manifest_of(seen)
