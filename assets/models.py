"""The models of sight and hearing: trained apart, each in a process of its own, then embedded."""

import dagster as dg

from aela.learning import checkpoints as saved
from aela.learning import embeddings, rounds
from aela.learning.checkpoints import Checkpoint
from aela.learning.embeddings import Embed, Sense
from aela.memory import manifest as manifests
from assets import common, lineage
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints


def train(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    model: str,
    manifest: str,
    *inputs: Checkpoint,
) -> dg.MaterializeResult:
    """Train one model on a manifest, on top of others, and describe the checkpoint for the UI."""
    on_top_of = {checkpoint.card.model: checkpoint.sha for checkpoint in inputs}
    checkpoint = compute.train(context, memory.home, model, manifest, on_top_of)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(checkpoint.sha),
        metadata={
            **checkpoint_metadata(memory, checkpoint),
            **lineage.of_card(context.instance, checkpoint.card),
        },
    )


def checkpoint_metadata(memory: Memory, checkpoint: Checkpoint) -> dict[str, dg.MetadataValue]:
    from aela.evaluation import pictures

    card = checkpoint.card
    path = memory.home.models(card.model) / f"{checkpoint.sha}.safetensors"
    metadata: dict[str, dg.MetadataValue] = {
        "checkpoint": dg.MetadataValue.text(checkpoint.sha),
        "manifest": dg.MetadataValue.text(card.manifest),
        "parent": dg.MetadataValue.text(card.parent or "none"),
        "inputs": dg.MetadataValue.json(card.inputs),
        "settings": dg.MetadataValue.json(card.settings),
        "path": dg.MetadataValue.path(str(path)),
        **{name: dg.MetadataValue.float(float(value)) for name, value in card.metrics.items()},
    }
    if len(card.curve) > 1:
        metadata["losses"] = common.picture(pictures.loss_curves(card.curve, card.model))
    return metadata


def asked_for(
    context: dg.AssetExecutionContext, checkpoints: Checkpoints, model: str
) -> Checkpoint:
    """The checkpoint that the run was asked to build on, else the current one.

    Raises:
        dagster.Failure: it was not trained yet.
    """
    sha = context.run.tags.get(common.checkpoint_tag(model))
    with common.plain_failures():
        return saved.read(checkpoints.home, model, sha) if sha else checkpoints.required(model)


def _manifest(context: dg.AssetExecutionContext, memory: Memory) -> str:
    """The manifest that the run was asked to learn from, else the one that was taken last."""
    with common.plain_failures():
        asked = context.run.tags.get(common.MANIFEST_TAG)
        return asked or manifests.current(memory.home).sha


@dg.asset(
    deps=["memory"],
    group_name="sight",
    kinds={"pytorch"},
    owners=common.OWNERS,
    pool="image_encoder",
    description="SwAV: learns from frames alone to tell things apart.",
)
def image_encoder(
    context: dg.AssetExecutionContext, compute: Compute, memory: Memory
) -> dg.MaterializeResult:
    return train(context, compute, memory, "image_encoder", _manifest(context, memory))


@dg.asset(
    deps=["memory"],
    group_name="hearing",
    kinds={"pytorch"},
    owners=common.OWNERS,
    pool="mel_autoencoder",
    description="Convolutional autoencoder of mel spectrograms.",
)
def mel_autoencoder(
    context: dg.AssetExecutionContext, compute: Compute, memory: Memory
) -> dg.MaterializeResult:
    return train(context, compute, memory, "mel_autoencoder", _manifest(context, memory))


@dg.asset(
    deps=["mel_autoencoder"],
    group_name="hearing",
    kinds={"pytorch"},
    owners=common.OWNERS,
    pool="word_autoencoder",
    description="LSTM autoencoder: a word of any length becomes one vector, and a vector a word.",
)
def word_autoencoder(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> dg.MaterializeResult:
    mel = asked_for(context, checkpoints, "mel_autoencoder")
    return train(context, compute, memory, "word_autoencoder", mel.card.manifest, mel)


@dg.asset(
    deps=["image_encoder"],
    group_name="sight",
    kinds={"pytorch", "parquet"},
    owners=common.OWNERS,
    retry_policy=common.RETRY_STORAGE,
    description="Every remembered frame and what lies beside things, as the encoder sees them.",
)
def image_embeddings(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> dg.MaterializeResult:
    from aela.vision.encoder import load_image_encoder

    checkpoint = asked_for(context, checkpoints, "image_encoder")
    encoder = load_image_encoder(memory.home, checkpoint.sha, compute.torch_device())
    embeds: dict[Sense, Embed] = {"frame": encoder.embed, "ground": encoder.embed_ground}
    return _refresh(context, memory, checkpoints, checkpoint, embeds)


@dg.asset(
    deps=["word_autoencoder"],
    group_name="hearing",
    kinds={"pytorch", "parquet"},
    owners=common.OWNERS,
    retry_policy=common.RETRY_STORAGE,
    description="Every remembered clip as the current word autoencoder hears it.",
)
def word_embeddings(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> dg.MaterializeResult:
    from aela.speech.speech import load_speech

    checkpoint = asked_for(context, checkpoints, "word_autoencoder")
    speech = load_speech(memory.home, checkpoint.sha, compute.torch_device())
    return _refresh(context, memory, checkpoints, checkpoint, {"clip": speech.embed})


def _refresh(
    context: dg.AssetExecutionContext,
    memory: Memory,
    checkpoints: Checkpoints,
    checkpoint: Checkpoint,
    embeds: dict[Sense, Embed],
) -> dg.MaterializeResult:
    """Embed what the checkpoint was trained on, where that was not done yet.

    What its parent had embedded is taken over, a bounded share of it embedded anew in each round.
    """
    with common.plain_failures():
        manifest = checkpoints.manifest_of(checkpoint)
        new = sum(
            embeddings.refresh(
                memory.home,
                checkpoint.sha,
                manifest,
                sense,
                embed,
                lambda video, rows: context.log.info(f"{video}: {rows} embedded"),
                parent=rounds.takes_over_from(checkpoint),
                most=embeddings.REFRESHED,
            )
            for sense, embed in embeds.items()
        )
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{checkpoint.sha}:{manifest.sha}"),
        metadata={"checkpoint": checkpoint.sha, "manifest": manifest.sha, "new_rows": new},
    )
