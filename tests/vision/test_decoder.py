"""The window on what embeddings know: pictures drawn from nothing else."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from upath import UPath

from aela.capture import Frame
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import Checkpoint
from aela.learning.loop import Budget
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.manifest import Manifest
from aela.storage import Home
from aela.vision.decoder import (
    current_image_decoder,
    load_image_decoder,
    seen_on_grey,
    train_image_decoder,
)
from aela.vision.encoder import load_image_encoder
from aela.vision.settings import DEFAULT, ImageDecoderSettings
from aela.vision.train import save_untrained

COLOURS = {"red": (210, 40, 40), "green": (40, 170, 60), "blue": (50, 60, 210)}
SHORT = ImageDecoderSettings(budget=Budget(steps=60), batch=8)


def film(colour: str, frames: int) -> Iterator[Frame]:
    """A square of one colour, moving before a noisy room."""
    room = np.random.default_rng(0).integers(90, 160, (96, 128, 3)).astype(np.uint8)
    for second in range(frames):
        views = []
        for shift in (0, 4, 8):
            view = room.copy()
            view[28:68, 40 + 2 * second + shift : 80 + 2 * second + shift] = COLOURS[colour]
            views.append(view)
        buffer = io.BytesIO()
        Image.fromarray(views[1]).save(buffer, "JPEG", quality=95)
        neighbours = np.stack([views[0], views[2]])
        yield Frame(float(second), buffer.getvalue(), 128, 96, 1.0, neighbours)


@pytest.fixture
def embedded(home: Home) -> tuple[Manifest, Checkpoint, dict[str, str]]:
    """Three things remembered and embedded by an encoder."""
    names = {}
    for colour in COLOURS:
        source = UPath(home.root / f"{colour}.mp4")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(colour.encode())
        video = videos.take_in(home, source, "learn", move=True)
        store.remember(home, video, film(colour, 6))
        names[colour] = video.video
    manifest = manifests.take(home)
    encoder = save_untrained(home, manifest, DEFAULT, seed=0)
    embed = load_image_encoder(home, encoder.sha).embed
    embeddings.refresh(home, encoder.sha, manifest, "frame", embed)
    return manifest, encoder, names


def test_each_thing_is_drawn_in_its_colour(home: Home, embedded):
    manifest, encoder, names = embedded
    decoder = train_image_decoder(home, manifest, encoder, SHORT, seed=0)
    assert decoder.card.metrics["error"] < 0.7 * decoder.card.metrics["error_of_mean"]
    network = load_image_decoder(home, decoder.sha)
    for number, colour in enumerate(COLOURS):
        drawn = network.draw(embeddings.read(home, encoder.sha, names[colour]))
        assert drawn.shape == (6, 48, 48, 3) and drawn.dtype == np.uint8
        middle = drawn[:, 16:32, 16:32].mean(axis=(0, 1, 2))
        assert middle.argmax() == number
        seen = seen_on_grey(store.read_frames(home, names[colour]), DEFAULT)
        assert abs(drawn.astype(int) - seen).mean() < 40


def test_equal_seeds_draw_alike_and_the_encoder_stays_as_it_is(home: Home, embedded):
    manifest, encoder, _ = embedded
    before = (home.models("image_encoder") / f"{encoder.sha}.safetensors").read_bytes()
    quick = ImageDecoderSettings(budget=Budget(steps=3), batch=8)
    one, same, other = (
        train_image_decoder(home, manifest, encoder, quick, seed=seed) for seed in (0, 0, 1)
    )
    assert one.sha == same.sha != other.sha
    after = (home.models("image_encoder") / f"{encoder.sha}.safetensors").read_bytes()
    assert after == before


def test_a_decoder_serves_its_own_encoder_and_memory_only(home: Home, embedded):
    manifest, encoder, _ = embedded
    assert current_image_decoder(home, encoder.sha, manifest.sha) is None
    quick = ImageDecoderSettings(budget=Budget(steps=1), batch=8)
    decoder = train_image_decoder(home, manifest, encoder, quick, seed=0)
    checkpoints.set_current(home, decoder)
    found = current_image_decoder(home, encoder.sha, manifest.sha)
    assert found and found.sha == decoder.sha
    assert current_image_decoder(home, "another", manifest.sha) is None
    assert current_image_decoder(home, encoder.sha, "another") is None


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="batch"):
        ImageDecoderSettings(batch=1)
