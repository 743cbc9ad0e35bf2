"""How good it is: sign accuracy, distance matrices, and a report for people."""

from dataclasses import asdict

import dagster as dg

from aela.mimicry.predict import predicted
from aela.storage import write_bytes, write_json
from assets import common
from resources.compute import Compute
from resources.memory import Memory
from resources.models import Checkpoints

TITLES = {
    "image": "images: distances of image embeddings",
    "word": "words: distances of word embeddings",
    "predicted": "predicted: distances of predicted words",
}


@dg.asset(
    deps=["generation", "predictions"],
    group_name="evaluation",
    kinds={"json"},
    owners=common.OWNERS,
    retry_policy=common.RETRY_STORAGE,
    description="Sign accuracy with its baselines, and distance matrices, on train and test.",
)
def evaluation(compute: Compute, memory: Memory, checkpoints: Checkpoints) -> dg.MaterializeResult:
    from aela.evaluation import pictures
    from aela.evaluation.evaluate import evaluate
    from aela.mimicry.recall import Mimic

    home, generation = memory.home, checkpoints.generation()
    settings = compute.settings
    with common.plain_failures():
        mimic = Mimic.load(home, generation, settings.mimicry, compute.torch_device())
        found = evaluate(home, mimic, settings.associator.window_s)
    folder = home.evaluation(generation.sha)
    metadata: dict[str, dg.MetadataValue] = {
        "generation": dg.MetadataValue.text(generation.sha),
        "path": dg.MetadataValue.path(str(folder)),
    }
    for part, accuracy in found.sign_accuracy.items():
        for name, value in asdict(accuracy).items():
            metadata[f"{part}_{name}"] = dg.MetadataValue.float(value)
    for sense, distances in found.distances.items():
        png = pictures.distance_matrix(distances, found.train, TITLES[sense])
        write_bytes(folder / f"distances_{sense}.png", png)
        metadata[f"distances_{sense}"] = common.picture(png)
    write_json(
        folder / "metrics.json",
        {**found.metrics(), "predicted": predicted(home, generation.sha)},
    )
    return dg.MaterializeResult(data_version=dg.DataVersion(generation.sha), metadata=metadata)
