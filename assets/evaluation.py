"""How good it is: sign accuracy, distance matrices, and a report for people."""

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg

from aela.learning import checkpoints as saved
from aela.learning.checkpoints import IMAGE_DECODER
from aela.memory.forget import unless_forgotten
from aela.mimicry.predict import predicted
from aela.storage import canonical_json, sha256, sha256_file, write_bytes, write_json
from assets import common, lineage
from assets.models import checkpoint_metadata, train
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints


@dg.asset(
    deps=["generation"],
    group_name="evaluation",
    kinds={"pytorch"},
    owners=common.OWNERS,
    pool=IMAGE_DECODER,
    description="Draws what image embeddings still know: a window for people, not used to predict.",
)
def image_decoder(
    context: dg.AssetExecutionContext, compute: Compute, memory: Memory, checkpoints: Checkpoints
) -> dg.MaterializeResult:
    from aela.vision.decoder import current_image_decoder

    generation = checkpoints.generation()
    there = current_image_decoder(memory.home, generation.image_encoder, generation.manifest)
    if there is None:
        encoder = saved.read(memory.home, "image_encoder", generation.image_encoder)
        return train(context, compute, memory, IMAGE_DECODER, generation.manifest, encoder)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(there.sha), metadata=checkpoint_metadata(memory, there)
    )


@dg.multi_asset(
    name="evaluate_generation",
    retry_policy=common.RETRY_STORAGE,
    specs=[
        dg.AssetSpec(
            "evaluation",
            deps=["generation", "predictions"],
            group_name="evaluation",
            kinds={"json"},
            owners=common.OWNERS,
            description="Sign accuracy with its baselines, and distance matrices, train and test.",
        ),
        dg.AssetSpec(
            "report",
            deps=["evaluation", "predictions", "image_decoder"],
            group_name="evaluation",
            kinds={"html"},
            owners=common.OWNERS,
            description="One page to look at and listen to: what it learned, said and remembers.",
        ),
    ],
)
def evaluation(
    context: dg.AssetExecutionContext,
    compute: Compute,
    memory: Memory,
    checkpoints: Checkpoints,
) -> Iterator[dg.MaterializeResult]:
    from aela.evaluation.evaluate import evaluate
    from aela.evaluation.gather import gather, matrices
    from aela.evaluation.report import write_report
    from aela.evaluation.window import required_image_decoder
    from aela.mimicry.recall import Mimic

    home, generation = memory.home, checkpoints.generation()
    settings = compute.settings
    included = predicted(home, generation.sha)
    folder, report = home.evaluation(generation.sha), home.report(generation.sha)
    with common.plain_failures(), unless_forgotten(home, folder):
        mimic = Mimic.load(home, generation, settings.mimicry, compute.torch_device())
        decoder = required_image_decoder(home, mimic)
        found = evaluate(home, mimic, settings.associator.window_s)
        drawn = matrices(found)
        write_report(gather(home, mimic, found, drawn, decoder), report)
        for sense, png in drawn.items():
            write_bytes(folder / f"distances_{sense}.png", png)
        measured = {**found.metrics(), "predicted": included}
        write_json(home.metrics(generation.sha), measured)
    yield dg.MaterializeResult(
        "evaluation",
        data_version=dg.DataVersion(
            sha256(canonical_json({"generation": generation.sha, **measured}))
        ),
        metadata={
            "generation": generation.sha,
            "path": dg.MetadataValue.path(str(folder)),
            **lineage.back(context.instance, {"generation": ("generation", generation.sha)}),
            **{
                f"{part}_{name}": value
                for part, accuracy in found.sign_accuracy.items()
                for name, value in asdict(accuracy).items()
            },
            **{f"distances_{sense}": common.picture(png) for sense, png in drawn.items()},
        },
    )
    yield dg.MaterializeResult(
        "report",
        data_version=dg.DataVersion(sha256_file(report)),
        metadata={
            "report": dg.MetadataValue.path(str(report)),
            "opened_by": dg.MetadataValue.text("aela report --open, or its link on the live page"),
            "bytes": report.stat().st_size,
            "videos": len(included),
        },
    )
