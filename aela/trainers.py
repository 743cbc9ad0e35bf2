"""Trains one model by name, on top of what the earlier stages made current."""

from collections.abc import Mapping

from aela.association.pairs import make_pairs
from aela.association.train import train_associator
from aela.learning import checkpoints
from aela.learning.checkpoints import IMAGE_DECODER, TRAINED, Checkpoint
from aela.learning.loop import Report, silent
from aela.memory.manifest import Manifest
from aela.mimicry import generation as generations
from aela.presets import Preset
from aela.speech.mel_autoencoder import train_mel_autoencoder
from aela.speech.word_autoencoder import train_word_autoencoder
from aela.storage import Home
from aela.vision.decoder import train_image_decoder
from aela.vision.train import train_image_encoder


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
        model: one of `checkpoints.TRAINED`; IMAGE_DECODER for the generation that speaks.
        parent: start from its weights; not for IMAGE_DECODER.
        inputs: checkpoints to train on top of, by model; the current ones of those not named.

    Raises:
        EmptyMemory: the manifest holds too little to train on.
        UnknownCheckpoint: an earlier stage was not trained yet.
        UnknownGeneration: there is no generation yet for an image decoder to show.
        ValueError: there is no model of that name.
    """

    def on_top_of(earlier: str) -> Checkpoint:
        if inputs and earlier in inputs:
            return checkpoints.read(home, earlier, inputs[earlier])
        return checkpoints.required(home, earlier)

    common = {"seed": seed, "device": device, "parent": parent, "report": report}
    if model == "image_encoder":
        return train_image_encoder(home, manifest, preset.image_encoder, **common)
    if model == "mel_autoencoder":
        return train_mel_autoencoder(home, manifest, preset.mel_autoencoder, **common)
    if model == "word_autoencoder":
        mel = on_top_of("mel_autoencoder")
        return train_word_autoencoder(home, manifest, mel, preset.word_autoencoder, **common)
    if model == "associator":
        image_encoder = on_top_of("image_encoder")
        word_autoencoder = on_top_of("word_autoencoder")
        settings = preset.associator
        pairs = make_pairs(home, manifest, image_encoder, word_autoencoder, settings.window_s)
        return train_associator(
            home, manifest, image_encoder, word_autoencoder, pairs, settings, **common
        )
    if model == IMAGE_DECODER:
        image_encoder = generations.required(home).image_encoder
        return train_image_decoder(
            home,
            manifest,
            checkpoints.read(home, "image_encoder", image_encoder),
            preset.image_decoder,
            seed=seed,
            device=device,
            report=report,
        )
    raise ValueError(f"There is no model {model!r}; it is one of {', '.join(TRAINED)}.")
