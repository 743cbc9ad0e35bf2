"""Trains one model by name, on top of what the earlier stages made current."""

from collections.abc import Mapping
from typing import Any

from aela.association.pairs import make_pairs
from aela.association.train import train_associator
from aela.learning import checkpoints
from aela.learning.checkpoints import IMAGE_DECODER, TRAINED, Checkpoint
from aela.learning.loop import Report, silent
from aela.memory.manifest import Manifest
from aela.presets import Preset
from aela.speech.mel_autoencoder import train_mel_autoencoder
from aela.speech.word_autoencoder import train_word_autoencoder
from aela.storage import Home
from aela.vision.decoder import train_image_decoder
from aela.vision.train import train_image_encoder

BUILDS_ON = {
    "word_autoencoder": ("mel_autoencoder",),
    "associator": ("image_encoder", "word_autoencoder"),
    IMAGE_DECODER: ("image_encoder",),
}


def train(
    home: Home,
    model: str,
    manifest: Manifest,
    preset: Preset,
    *,
    seed: int,
    device: str = "cpu",
    parent: Checkpoint | None = None,
    inputs: Mapping[str, str] | None = None,
    report: Report = silent,
) -> Checkpoint:
    """Train `model` on a manifest and save it; not made current.

    Args:
        model: one of `checkpoints.TRAINED`.
        parent: start from its weights; not for IMAGE_DECODER.
        inputs: checkpoints to train on top of, by model; the current ones of those not named.

    Raises:
        EmptyMemory: the manifest holds too little to train on.
        UnknownCheckpoint: an earlier stage was not trained yet.
        ValueError: there is no model of that name.
    """
    if model not in TRAINED:
        raise ValueError(f"There is no model {model!r}; it is one of {', '.join(TRAINED)}.")
    asked = inputs or {}
    below = {
        earlier: asked.get(earlier) or checkpoints.required(home, earlier).sha
        for earlier in BUILDS_ON.get(model, ())
    }
    return train_on(
        home,
        model,
        manifest,
        getattr(preset, model),
        below,
        seed=seed,
        device=device,
        parent=parent,
        report=report,
    )


def train_on(
    home: Home,
    model: str,
    manifest: Manifest,
    settings: Any,
    inputs: Mapping[str, str],
    *,
    seed: int,
    device: str = "cpu",
    parent: Checkpoint | None = None,
    report: Report = silent,
) -> Checkpoint:
    """Train `model` with its own settings, on top of the checkpoints that `inputs` names by role.

    Raises:
        EmptyMemory, UnknownCheckpoint: as `train`.
    """
    below = {
        name: checkpoints.read(home, name, sha) for name, sha in inputs.items() if name in TRAINED
    }
    common = {"seed": seed, "device": device, "report": report}
    if model == "image_encoder":
        return train_image_encoder(home, manifest, settings, parent=parent, **common)
    if model == "mel_autoencoder":
        return train_mel_autoencoder(home, manifest, settings, parent=parent, **common)
    if model == "word_autoencoder":
        mel = below["mel_autoencoder"]
        return train_word_autoencoder(home, manifest, mel, settings, parent=parent, **common)
    if model == "associator":
        of = below["image_encoder"], below["word_autoencoder"]
        pairs = make_pairs(home, manifest, *of, settings.window_s)
        return train_associator(home, manifest, *of, pairs, settings, parent=parent, **common)
    return train_image_decoder(home, manifest, below["image_encoder"], settings, **common)
