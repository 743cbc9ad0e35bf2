"""The baseline that every claim stands beside: the same system with an untrained image encoder."""

from dataclasses import replace

from aela.association.pairs import make_pairs
from aela.association.settings import AssociatorSettings
from aela.association.train import train_associator
from aela.learning import checkpoints, embeddings
from aela.memory import manifest as manifests
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.mimicry.novelty import memory_threshold
from aela.presets import Preset
from aela.storage import Home
from aela.vision.encoder import load_image_encoder
from aela.vision.settings import ImageEncoderSettings
from aela.vision.train import save_untrained


def untrained_generation(
    home: Home, learned: Generation, preset: Preset, *, seed: int
) -> Generation:
    """A generation that differs from `learned` in one thing: its image encoder never learned.

    Its associator is trained anew on the untrained embeddings. It is written, never published.
    """
    manifest = manifests.read(home, learned.manifest)
    card = checkpoints.read(home, "image_encoder", learned.image_encoder).card
    settings = checkpoints.settings_from(ImageEncoderSettings, card)
    untrained = save_untrained(home, manifest, settings, seed=seed)
    encoder = load_image_encoder(home, untrained.sha)
    embeddings.refresh(home, untrained.sha, manifest, "frame", encoder.embed)
    embeddings.refresh(home, untrained.sha, manifest, "ground", encoder.embed_ground)
    words = checkpoints.read(home, "word_autoencoder", learned.word_autoencoder)
    card = checkpoints.read(home, "associator", learned.associator).card
    joining = checkpoints.settings_from(AssociatorSettings, card)
    pairs = make_pairs(home, manifest, untrained, words, joining.window_s)
    associator = train_associator(home, manifest, untrained, words, pairs, joining, seed=seed)
    generation = replace(
        learned,
        image_encoder=untrained.sha,
        associator=associator.sha,
        pairs=pairs,
        threshold=memory_threshold(home, learned.manifest, untrained.sha, preset.mimicry),
    )
    generations.write(home, generation)
    return generation
