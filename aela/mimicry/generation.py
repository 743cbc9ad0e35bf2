"""A generation: the checkpoints and embeddings that belong together, published at once."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from aela.storage import Home, canonical_json, read_json, sha256, write_bytes, write_json


class UnknownGeneration(LookupError):
    """No such generation in this home, or none yet."""


@dataclass(frozen=True)
class Generation:
    """Hashes of everything a prediction depends on; `threshold` is the novelty to stay silent at.

    `sha` covers all of it but `created`, so publishing the same again changes nothing.
    """

    image_encoder: str
    mel_autoencoder: str
    word_autoencoder: str
    associator: str
    pairs: str
    manifest: str
    threshold: float
    parent: str | None = None
    created: str = ""

    @property
    def sha(self) -> str:
        return sha256(
            canonical_json({k: v for k, v in asdict(self).items() if k not in _NOT_CONTENT})
        )


_NOT_CONTENT = ("created", "parent")


def write(home: Home, generation: Generation) -> None:
    """Write the record of a generation, without making it the one that speaks."""
    path = home.generations / f"{generation.sha}.json"
    if not path.exists():
        stamped = {**asdict(generation), "created": datetime.now(UTC).isoformat(timespec="seconds")}
        write_json(path, stamped)


def publish(home: Home, generation: Generation) -> None:
    """Make this the generation that speaks: one rename, after everything it names is written."""
    write(home, generation)
    write_bytes(home.generations / "current", generation.sha.encode())


def read(home: Home, sha: str) -> Generation:
    """
    Raises:
        UnknownGeneration: there is none of that hash.
    """
    path = home.generations / f"{sha}.json"
    if not path.exists():
        raise UnknownGeneration(f"There is no generation {sha} in {home.root}.")
    return Generation(**read_json(path))


def current(home: Home) -> Generation | None:
    """The generation that speaks, or None before the first."""
    pointer = home.generations / "current"
    return read(home, pointer.read_text().strip()) if pointer.exists() else None


def required(home: Home) -> Generation:
    """The generation that speaks.

    Raises:
        UnknownGeneration: nothing was learned yet.
    """
    generation = current(home)
    if generation is None:
        raise UnknownGeneration(
            f"Nothing was learned yet in {home.root}; run `aela learn VIDEO...` first."
        )
    return generation
