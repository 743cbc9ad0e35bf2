"""Trains a checkpoint again from its card and its manifest, and compares the weights bit by bit.

What the training needs is looked for first: nothing is trained if something of it is gone. What is
written lies in a temporary folder, but for pictures in the cache of the home.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from upath import UPath

from aela.association.settings import AssociatorSettings
from aela.learning import checkpoints, embeddings, rounds
from aela.learning.checkpoints import IMAGE_DECODER, Card, Checkpoint, UnknownCheckpoint
from aela.learning.embeddings import Embed, Sense
from aela.learning.loop import GRACE, Budget, Report, silent
from aela.memory import manifest as manifests
from aela.memory.manifest import Manifest, UnknownManifest
from aela.speech.settings import MelAutoencoderSettings, WordAutoencoderSettings
from aela.storage import Home, write_bytes
from aela.vision.settings import ImageDecoderSettings, ImageEncoderSettings

SETTINGS = {
    "image_encoder": ImageEncoderSettings,
    "mel_autoencoder": MelAutoencoderSettings,
    "word_autoencoder": WordAutoencoderSettings,
    "associator": AssociatorSettings,
    IMAGE_DECODER: ImageDecoderSettings,
}
SENSES: dict[str, Sense] = {"image_encoder": "frame", "word_autoencoder": "clip"}
"""What of memory a model embeds for those that are trained on top of it."""


@dataclass(frozen=True)
class Reproduction:
    """What came of training a checkpoint again.

    Attributes:
        trained: whether it could be trained; then `seconds` it took.
        equal: whether all weights are the same, bit by bit.
        differs: sentences on what is gone or otherwise than it was.
        apart: by weight, the greatest difference where there is one; `weights` is how many there
            are.
    """

    checkpoint: Checkpoint
    trained: bool
    equal: bool
    differs: tuple[str, ...]
    apart: dict[str, float] = dataclasses.field(default_factory=dict)
    weights: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Beside(Home):
    """A home that is only read: checkpoints, embeddings and pairs of it lie elsewhere.

    Those that are needed are laid there first.
    """

    elsewhere: Home

    @property
    def all_models(self) -> UPath:
        return self.elsewhere.all_models

    @property
    def all_embeddings(self) -> UPath:
        return self.elsewhere.all_embeddings

    def pairs(self, sha: str) -> UPath:
        return self.elsewhere.pairs(sha)


def reproduce(home: Home, name: str, report: Report = silent) -> Reproduction:
    """Train the checkpoint whose hash starts so again, on the CPU with as many threads.

    Equal weights are to be expected on the same machine with the same versions, as long as the
    budget ended by steps.

    Raises:
        UnknownCheckpoint: none or several start so.
    """
    import torch
    from threadpoolctl import threadpool_limits

    checkpoint = checkpoints.find(home, name)
    card = checkpoint.card
    missing = tuple(_missing(home, card))
    if missing:
        return Reproduction(checkpoint, trained=False, equal=False, differs=missing)
    threads, start = torch.get_num_threads(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with threadpool_limits(card.threads, "blas"):
                torch.set_num_threads(card.threads or threads)
                again = _train(home, checkpoint, Home.at(folder), report)
        finally:
            torch.set_num_threads(threads)
    seconds = time.monotonic() - start
    before = checkpoints.weights(home, card.model, checkpoint.sha)
    apart = {}
    for weight in sorted(before.keys() | again.keys()):
        one, other = before.get(weight), again.get(weight)
        if one is None or other is None or one.shape != other.shape:
            apart[weight] = float("inf")
        elif not torch.equal(one, other):
            apart[weight] = float((one.double() - other.double()).abs().max())
    differs = tuple(_otherwise(card)) if apart else ()
    return Reproduction(checkpoint, True, not apart, differs, apart, len(before), seconds)


def _missing(home: Home, card: Card) -> Iterator[str]:
    """Why a training cannot be repeated."""
    if card.metrics.get("steps", 0) == 0:
        yield "It was never trained, only saved."
        return
    if card.device not in ("", "cpu"):
        yield f"It was trained on {card.device}, where sums come out in another order each time."
    try:
        manifest = manifests.read(home, card.manifest)
    except UnknownManifest as error:
        yield str(error)
    else:
        yield from _cut_short(home, card, manifest)
        yield from _gone(home, manifest)
    for model, sha in _needed(home, card):
        try:
            checkpoints.weights(home, model, sha)
            checkpoints.read(home, model, sha)
        except UnknownCheckpoint as error:
            yield f"What it was trained from is gone: {error}"


def _cut_short(home: Home, card: Card, manifest: Manifest) -> Iterator[str]:
    if card.parent and not (home.models(card.model) / f"{card.parent}.json").exists():
        return  # How much was new to it is not known; that its parent is gone is told anyway.
    budget = _budget(home, card, manifest)
    if budget.minutes and card.metrics["steps"] < budget.steps:
        yield (
            f"Its budget ended by minutes, after {card.metrics['steps']:.0f} of "
            f"{budget.steps} steps: how many are made in that time, chance decides."
        )


def _budget(home: Home, card: Card, manifest: Manifest) -> Budget:
    """What of its settings' budget was for what was new to it."""
    parent = checkpoints.read(home, card.model, card.parent) if card.parent else None
    known = rounds.known_to(home, parent)
    new = [entry for entry in manifest.entries if entry not in known]
    sight = card.model == "image_encoder"
    rows = sum(entry.frames if sight else entry.clips for entry in new)
    return _settings(card).budget.of(rows)


def _gone(home: Home, manifest: Manifest) -> Iterator[str]:
    for entry in manifest.entries:
        if (happened := manifests.state(home, entry)) != "remembered":
            yield f"{entry.video}, which it learned from, was {happened}."


def _needed(home: Home, card: Card) -> list[tuple[str, str]]:
    """The checkpoints that a training starts from or reads memory through: model and hash."""
    needed = [(model, sha) for model, sha in card.inputs.items() if model in checkpoints.TRAINED]
    for model, sha in _read_through(card):
        if (home.models(model) / f"{sha}.json").exists():
            needed += checkpoints.read(home, model, sha).card.inputs.items()
    return [*needed, *([(card.model, card.parent)] if card.parent else [])]


def _read_through(card: Card) -> list[tuple[str, str]]:
    """The checkpoints whose embeddings of memory a training reads: model and hash."""
    return [(model, sha) for model, sha in card.inputs.items() if model in SENSES]


def _settings(card: Card) -> Any:
    return checkpoints.settings_from(SETTINGS[card.model], card)


def _train(home: Home, checkpoint: Checkpoint, elsewhere: Home, report: Report) -> dict[str, Any]:
    """The weights that training again makes."""
    from aela.trainers import train_on

    card = checkpoint.card
    manifest, settings = manifests.read(home, card.manifest), _settings(card)
    beside = _Beside(home.root, elsewhere)
    for model, sha in _needed(home, card):
        for name in (f"{sha}.json", f"{sha}.safetensors"):
            _lay(home.models(model) / name, beside.models(model) / name)
    for model, sha in _read_through(card):
        _lay_embeddings(home, beside, model, sha, manifest)
        embeddings.refresh(beside, sha, manifest, SENSES[model], _embed(beside, model, sha))
    # The minutes did not end it, and must not end it now on a busier machine.
    steps = _budget(home, card, manifest).steps
    settings = dataclasses.replace(settings, budget=Budget(steps))
    parent = checkpoints.read(home, card.model, card.parent) if card.parent else None
    if parent and card.model in SENSES:
        _lay_embeddings(home, beside, card.model, parent.sha, manifest)
    made = train_on(
        beside,
        card.model,
        manifest,
        settings,
        card.inputs,
        seed=card.seed,
        parent=parent,
        report=report,
    )
    return checkpoints.weights(beside, card.model, made.sha)


def _lay_embeddings(home: Home, beside: Home, model: str, sha: str, manifest: Manifest) -> None:
    """Those that stand for a checkpoint's own, whoever made them."""
    sense = SENSES[model]
    found = embeddings.find(home, sha, manifest.entries, sense)
    for entry, values in zip(manifest.entries, found, strict=True):
        if values is not None:
            embeddings.write(beside, sha, entry.video, entry.content, values, sense)


def _lay(original: UPath, there: UPath) -> None:
    if original.exists():
        write_bytes(there, original.read_bytes())


def _embed(home: Home, model: str, sha: str) -> Embed:
    if model == "image_encoder":
        from aela.vision.encoder import load_image_encoder

        return load_image_encoder(home, sha).embed
    from aela.speech.speech import load_speech

    return load_speech(home, sha).embed


def _otherwise(card: Card) -> Iterator[str]:
    """What is otherwise now than when a checkpoint was trained."""
    if card.code_version != checkpoints.code_version():
        yield f"It was trained by version {card.code_version}, not {checkpoints.code_version()}."
    if not card.versions:
        yield "Its card is of the first ones, which do not tell threads and versions of libraries."
    for name, now in checkpoints.versions().items():
        if (then := card.versions.get(name, now)) != now:
            yield f"{name} was {then} and is {now}."
    minutes = _settings(card).budget.minutes
    if minutes and card.metrics["seconds"] > GRACE * 60 * minutes:
        yield (
            "Its budget has minutes too: where they got ahead of the steps, time changed its "
            "learning rate."
        )
