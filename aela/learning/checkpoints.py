"""Checkpoints: immutable weights (safetensors) named by content hash, each with its card (JSON)."""

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

from aela.learning.loop import Budget
from aela.storage import (
    Home,
    canonical_json,
    read_json,
    sha256,
    starting,
    write_bytes,
    write_json,
)

if TYPE_CHECKING:
    import torch

MODELS = ("image_encoder", "mel_autoencoder", "word_autoencoder", "associator")
"""What a generation joins."""
IMAGE_DECODER = "image_decoder"
"""Only shows what an image encoder knows: it belongs to no generation."""
TRAINED = (*MODELS, IMAGE_DECODER)
LIBRARIES = ("torch", "numpy", "scipy", "librosa", "pillow")
"""Those whose versions a card holds."""
Settings = TypeVar("Settings")


class UnknownCheckpoint(LookupError):
    """No such checkpoint in this home."""


@dataclass(frozen=True)
class Card:
    """What a checkpoint is and where it comes from.

    `inputs` names the checkpoints (or generations' parts) it was trained on top of, by role, for
    instance `{"mel_autoencoder": sha}` on a word autoencoder's card. `device`, `threads` and
    `versions` tell where it was trained, which its name does not cover; the first cards lack them.
    """

    model: str
    settings: dict[str, Any]
    seed: int
    manifest: str
    parent: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    code_version: str = ""
    created: str = ""
    device: str = ""
    threads: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    sha: str
    card: Card


def code_version() -> str:
    try:
        return version("aela")
    except PackageNotFoundError:
        return "unpackaged"


def versions() -> dict[str, str]:
    """What decides the last bits of a training beside its card: libraries, and how they count."""
    import torch

    found = {name: version(name) for name in LIBRARIES}
    return {**found, "cpu": torch.backends.cpu.get_cpu_capability()}


def save(home: Home, card: Card, tensors: "dict[str, torch.Tensor]") -> Checkpoint:
    """Write weights and card, under `name_of` them, from the process that trained them."""
    import torch
    from safetensors.torch import save as to_bytes

    devices = {tensor.device.type for tensor in tensors.values()} - {"cpu"}
    card = dataclasses.replace(
        card,
        code_version=code_version(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        device=devices.pop() if devices else "cpu",
        threads=torch.get_num_threads(),
        versions=versions(),
    )
    weights = to_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    sha = name_of(card, weights)
    folder = home.models(card.model)
    write_bytes(folder / f"{sha}.safetensors", weights)
    write_json(folder / f"{sha}.json", dataclasses.asdict(card))
    return Checkpoint(sha, card)


def name_of(card: Card, weights: bytes) -> str:
    """The SHA-256 of the weights' file together with what they were trained from.

    Equal weights trained on another manifest are another checkpoint.
    """
    return sha256(canonical_json({**origin(card), "weights": sha256(weights)}))


def origin(card: Card) -> dict[str, Any]:
    """What a checkpoint is trained from: all that its weights follow from."""
    return {
        "model": card.model,
        "settings": card.settings,
        "seed": card.seed,
        "manifest": card.manifest,
        "parent": card.parent,
        "inputs": card.inputs,
    }


def read(home: Home, model: str, sha: str) -> Checkpoint:
    """The checkpoint without its weights.

    Raises:
        UnknownCheckpoint: there is none of that name.
    """
    path = home.models(model) / f"{sha}.json"
    if not path.exists():
        raise UnknownCheckpoint(f"There is no {model} checkpoint {sha} in {home.root}.")
    return Checkpoint(sha, Card(**read_json(path)))


def find(home: Home, name: str) -> Checkpoint:
    """The checkpoint whose hash starts so, whatever its model.

    Raises:
        UnknownCheckpoint: none or several do.
    """
    models = {path.stem: path.parent.name for path in home.all_models.glob("*/*.json")}
    matching = starting(name, sorted(models))
    if len(matching) != 1:
        shown = ", ".join(f"{models[sha]} {sha[:12]}" for sha in matching[:5])
        several = f"{name!r} is the start of several checkpoints ({shown}); write more of it."
        none = f"There is no checkpoint {name!r} in {home.root}; `aela trace VIDEO` shows some."
        raise UnknownCheckpoint(several if matching else none)
    return read(home, models[matching[0]], matching[0])


def weights(home: Home, model: str, sha: str) -> "dict[str, torch.Tensor]":
    """The tensors of a checkpoint, on the CPU.

    Raises:
        UnknownCheckpoint: there is none of that name.
    """
    from safetensors.torch import load

    path = home.models(model) / f"{sha}.safetensors"
    if not path.exists():
        raise UnknownCheckpoint(f"There is no {model} checkpoint {sha} in {home.root}.")
    return load(path.read_bytes())


def set_current(home: Home, checkpoint: Checkpoint) -> None:
    """Make this the checkpoint that the next stage builds on."""
    write_bytes(home.models(checkpoint.card.model) / "current", checkpoint.sha.encode())


def current(home: Home, model: str) -> Checkpoint | None:
    """The checkpoint that the next stage builds on, or None before the first training."""
    pointer = home.models(model) / "current"
    return read(home, model, pointer.read_text().strip()) if pointer.exists() else None


def required(home: Home, model: str) -> Checkpoint:
    """The current checkpoint of `model`.

    Raises:
        UnknownCheckpoint: it was not trained yet.
    """
    checkpoint = current(home, model)
    if checkpoint is None:
        raise UnknownCheckpoint(
            f"There is no {model} yet in {home.root}; materialize the asset {model} first."
        )
    return checkpoint


def settings_dict(settings: Any) -> dict[str, Any]:
    """A settings dataclass as the plain JSON values that a card holds."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def settings_from(kind: type[Settings], card: Card) -> Settings:
    """The settings of a model, as its card holds them."""
    return kind(**{**card.settings, "budget": Budget(**card.settings["budget"])})
