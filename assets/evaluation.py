"""How good it is: sign accuracy, distance matrices, and a report for people."""

from collections.abc import Iterator
from dataclasses import asdict

import dagster as dg

from aela.mimicry.predict import predicted
from aela.storage import canonical_json, sha256, write_bytes, write_json
from assets import common
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints

TITLES = {
    "image": "images: distances of image embeddings",
    "word": "words: distances of word embeddings",
    "predicted": "predicted: distances of predicted words",
}


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
            deps=["evaluation", "predictions"],
            group_name="evaluation",
            kinds={"html"},
            owners=common.OWNERS,
            description="One page to look at and listen to: what it learned, said and remembers.",
        ),
    ],
)
def evaluation(
    compute: Compute, memory: Memory, checkpoints: Checkpoints
) -> Iterator[dg.MaterializeResult]:
    from aela.evaluation import pictures
    from aela.evaluation.evaluate import evaluate
    from aela.evaluation.gather import gather
    from aela.evaluation.report import write_report
    from aela.mimicry.recall import Mimic

    home, generation = memory.home, checkpoints.generation()
    settings = compute.settings
    included = predicted(home, generation.sha)
    with common.plain_failures():
        mimic = Mimic.load(home, generation, settings.mimicry, compute.torch_device())
        found = evaluate(home, mimic, settings.associator.window_s)
    folder = home.evaluation(generation.sha)
    matrices = {
        sense: pictures.distance_matrix(distances, found.train, TITLES[sense])
        for sense, distances in found.distances.items()
    }
    version = dg.DataVersion(sha256(canonical_json([generation.sha, included])))
    yield dg.MaterializeResult(
        "evaluation",
        data_version=version,
        metadata={
            "generation": generation.sha,
            "path": dg.MetadataValue.path(str(folder)),
            **{
                f"{part}_{name}": value
                for part, accuracy in found.sign_accuracy.items()
                for name, value in asdict(accuracy).items()
            },
            **{f"distances_{sense}": common.picture(png) for sense, png in matrices.items()},
        },
    )
    report = folder / "report.html"
    titles = {TITLES[sense]: png for sense, png in matrices.items()}
    write_report(gather(home, mimic, found, titles), report)
    for sense, png in matrices.items():
        write_bytes(folder / f"distances_{sense}.png", png)
    write_json(folder / "metrics.json", {**found.metrics(), "predicted": included})
    yield dg.MaterializeResult(
        "report",
        data_version=version,
        metadata={
            "report": dg.MetadataValue.path(str(report)),
            "bytes": report.stat().st_size,
            "videos": len(included),
        },
    )
