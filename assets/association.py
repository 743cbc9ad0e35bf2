"""What was seen joined to what was said: moments, the associator, and the generation of it all."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np

from aela.association.pairs import make_pairs, read_pairs
from aela.learning import checkpoints as saved
from aela.learning import schedule
from aela.learning.checkpoints import MODELS, Checkpoint
from aela.memory import manifest as manifests
from aela.memory.manifest import Manifest
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.storage import Home
from assets import common, lineage
from assets.models import asked_for, train
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints

if TYPE_CHECKING:  # The code location loads no network.
    from aela.mimicry.gate import Verdict


@dg.asset(
    deps=["image_embeddings", "word_embeddings"],
    group_name="association",
    kinds={"parquet"},
    owners=common.OWNERS,
    retry_policy=common.RETRY_STORAGE,
    description="Moments: which frame belongs with which clip, by nearness in time alone.",
)
def pairs(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> dg.MaterializeResult:
    seen, heard, manifest = _joined(context, checkpoints)
    window_s = compute.settings.associator.window_s
    sha = make_pairs(memory.home, manifest, seen, heard, window_s)
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
    pool="associator",
    description="MLP from an image embedding to the embedding of the word that was said with it.",
)
def associator(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> dg.MaterializeResult:
    seen, heard, manifest = _joined(context, checkpoints)
    return train(context, compute, memory, "associator", manifest.sha, seen, heard)


@dg.asset(
    deps=["associator"],
    group_name="association",
    kinds={"json"},
    owners=common.OWNERS,
    check_specs=[
        dg.AssetCheckSpec(
            "agrees_with_memory",
            asset="generation",
            description="Shown remembered frames, the new generation thinks of the words heard "
            "with them at least as well as the one that spoke, or it is refused.",
        )
    ],
    description="The checkpoints and embeddings that belong together, published at once if they "
    "agree with memory at least as well as the last ones did.",
)
def generation(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    from aela.mimicry.gate import judge
    from aela.mimicry.novelty import memory_threshold

    home = memory.home
    associator = checkpoints.required("associator")
    inputs = associator.card.inputs
    # What the associator was trained on belongs together, whatever is current by now.
    words = saved.read(home, "word_autoencoder", inputs["word_autoencoder"])
    with common.plain_failures():
        new = Generation(
            image_encoder=inputs["image_encoder"],
            mel_autoencoder=words.card.inputs["mel_autoencoder"],
            word_autoencoder=words.sha,
            associator=associator.sha,
            pairs=inputs["pairs"],
            manifest=associator.card.manifest,
            threshold=memory_threshold(
                home, associator.card.manifest, inputs["image_encoder"], compute.settings.mimicry
            ),
        )
        while True:
            speaking = generations.current(home)
            verdict = judge(home, speaking, new)
            if generations.current(home) == speaking:  # Nobody has rolled back meanwhile.
                break
    if speaking and speaking.sha != new.sha:
        new = replace(new, parent=speaking.sha)
    links = lineage.of_generation(context.instance, new)
    made = {**generation_metadata(home, new), **_told(verdict), **links}
    if not verdict.passed:
        generations.refuse(home, new, verdict.reason, verdict.figures)
        yield _agrees(verdict)
        raise dg.Failure(verdict.reason, metadata=made, allow_retries=False)
    generations.publish(home, new, verdict.reason, verdict.figures)
    for observation in lineage.told(home, new):
        context.log_event(observation)
    yield dg.MaterializeResult(data_version=dg.DataVersion(new.sha), metadata=made)
    yield _agrees(verdict)


def generation_metadata(home: Home, generation: Generation) -> dict[str, dg.MetadataValue]:
    """What a generation is made of, for the UI."""
    made_of = (*MODELS, "manifest", "pairs")
    return {
        **{name: dg.MetadataValue.text(getattr(generation, name)) for name in made_of},
        "generation": dg.MetadataValue.text(generation.sha),
        "parent": dg.MetadataValue.text(generation.parent or "none"),
        "novelty_threshold": dg.MetadataValue.float(generation.threshold),
        "path": dg.MetadataValue.path(str(home.generations / f"{generation.sha}.json")),
    }


def _told(verdict: "Verdict") -> dict[str, dg.MetadataValue]:
    """How well a generation agrees with memory, for the UI."""
    told: dict[str, dg.MetadataValue] = {"verdict": dg.MetadataValue.text(verdict.reason)}
    if figures := verdict.figures:
        told["agreement"] = dg.MetadataValue.float(figures.agreement)
        told["moments"] = dg.MetadataValue.int(figures.moments)
    if found := verdict.comparison:
        worst = found.worst
        told["agreement_before"] = dg.MetadataValue.float(found.old.share)
        told["tolerance"] = dg.MetadataValue.float(found.tolerance)
        told["worst_video"] = dg.MetadataValue.text(worst)
        told["worst_video_agreement"] = dg.MetadataValue.float(found.new.videos[worst])
        told["worst_video_agreement_before"] = dg.MetadataValue.float(found.old.videos[worst])
    return told


def _agrees(verdict: "Verdict") -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name="agrees_with_memory",
        passed=verdict.passed,
        description=verdict.reason,
        metadata=_told(verdict),
    )


def _joined(
    context: dg.AssetExecutionContext, checkpoints: Checkpoints
) -> tuple[Checkpoint, Checkpoint, Manifest]:
    """The image encoder and the word autoencoder that are joined, and on what memory."""
    seen = asked_for(context, checkpoints, "image_encoder")
    heard = asked_for(context, checkpoints, "word_autoencoder")
    return seen, heard, _common(context, checkpoints, seen, heard)


def _common(
    context: dg.AssetExecutionContext, checkpoints: Checkpoints, seen: Checkpoint, heard: Checkpoint
) -> Manifest:
    """The manifest that the run was asked for, else that of all that both have learned from.

    Raises:
        dagster.Failure: they have learned from nothing together.
    """
    asked = context.run.tags.get(common.MANIFEST_TAG)
    with common.plain_failures():
        if asked:
            return manifests.read(checkpoints.home, asked)
        learned = (checkpoints.manifest_of(checkpoint) for checkpoint in (seen, heard))
        manifest = schedule.common(manifests.of_now(checkpoints.home), *learned)
    if not manifest.frames or not manifest.clips:
        raise dg.Failure(
            "The image encoder and the word autoencoder were trained on different memories; "
            "run the job `learn`, which trains both on the same.",
            allow_retries=False,
        )
    manifests.write(checkpoints.home, manifest)
    return manifest
