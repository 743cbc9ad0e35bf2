"""Whether a whole home is sound: memory, what was learned from it, and what was said."""

from collections.abc import Iterator

from aela.learning import verify as learned
from aela.learning.checkpoints import MODELS
from aela.memory import verify as memory
from aela.memory.verify import Kind
from aela.mimicry import generation as generations
from aela.mimicry.predict import read_predictions
from aela.storage import Home


def kinds(home: Home) -> list[Kind]:
    """All that can be verified in a home."""
    tables = (home.relative(path) for path in home.all_predictions.glob("*/*.parquet"))
    return [
        *memory.kinds(home),
        *learned.kinds(home),
        Kind("generation", memory.stems(home.generations), lambda sha: _generation(home, sha)),
        Kind("predictions", sorted(tables), lambda name: _predictions(home, name)),
    ]


def _generation(home: Home, sha: str) -> Iterator[str]:
    generation = generations.read(home, sha)
    if generation.sha != sha:
        yield f"The generation {sha} was changed; it no longer has the hash it names."
    for model in MODELS:
        card = home.models(model) / f"{getattr(generation, model)}.json"
        if not card.exists():
            yield f"The generation {sha} lacks its {model}; learn again."
    if not home.manifest(generation.manifest).exists():
        yield f"The generation {sha} lacks its manifest {generation.manifest}; learn again."
    generations.history(home, sha)  # It can be read.


def _predictions(home: Home, name: str) -> Iterator[str]:
    path = home.root / name
    rows = read_predictions(home, path.parent.name, path.stem).to_pylist()
    missing = sum(bool(row["sound"]) and not (home.root / row["sound"]).exists() for row in rows)
    if missing:
        yield f"{missing} sounds of {path} are missing; delete it and watch the video again."
