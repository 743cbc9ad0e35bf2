"""Whether checkpoints and embeddings are what their names say."""

from collections.abc import Iterator

from aela.learning import checkpoints
from aela.memory import store
from aela.memory.verify import Kind
from aela.storage import Home, read_parquet


def kinds(home: Home) -> list[Kind]:
    """All that was learned: checkpoints, and embeddings of memory."""
    models = home.all_models
    names = {home.relative(path.with_suffix("")) for path in models.glob("*/*.json")}
    names |= {home.relative(path.with_suffix("")) for path in models.glob("*/*.safetensors")}
    tables = [*home.all_embeddings.glob("*/*.parquet")]
    tables += home.all_embeddings.glob("*/ground/*.parquet")
    return [
        Kind("checkpoint", sorted(names), lambda name: _checkpoint(home, name)),
        Kind(
            "embeddings",
            sorted(home.relative(path) for path in tables),
            lambda name: _embeddings(home, name),
        ),
    ]


def _checkpoint(home: Home, name: str) -> Iterator[str]:
    _, model, sha = name.split("/")
    weights = home.models(model) / f"{sha}.safetensors"
    if not weights.exists() or not weights.with_suffix(".json").exists():
        missing = "card" if weights.exists() else "weights"
        yield f"The checkpoint {name} lacks its {missing}; delete it and learn again."
        return
    card = checkpoints.read(home, model, sha).card
    if checkpoints.name_of(card, weights.read_bytes()) != sha:
        yield f"The checkpoint {name} was changed; delete it and learn again."


def _embeddings(home: Home, name: str) -> Iterator[str]:
    path = home.root / name
    table = read_parquet(path)
    made_of = (table.schema.metadata or {}).get(b"content", b"").decode()
    if made_of != store.content(home, path.stem):
        yield f"{path} was made of other rows than memory holds of {path.stem}; delete it."
