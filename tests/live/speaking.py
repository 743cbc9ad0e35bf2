"""A home that speaks, made up in a second: a red disc and a blue box, each with a word of its own.

Its networks are real and untrained; only the associator is solved, so that each thing brings its
own word to mind.
"""

import io
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
from PIL import Image, ImageDraw

from aela.association.associator import Associator
from aela.association.pairs import make_pairs
from aela.association.settings import QUICK
from aela.capture import SAMPLE_RATE_HZ, Clip, Frame
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import Card, Checkpoint
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.manifest import Manifest
from aela.memory.videos import Video
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.speech.mel_autoencoder import MelAutoencoder
from aela.speech.settings import QUICK_MEL, QUICK_WORD
from aela.speech.speech import Speech
from aela.speech.word_autoencoder import WordAutoencoder
from aela.storage import Home
from aela.vision.encoder import ImageEncoder, untrained_image_encoder
from aela.vision.pictures import looked_at
from aela.vision.settings import ImageEncoderSettings
from tests.capture.media import voice

THINGS = ("disc", "box")
SIZE = (320, 240)
NAMED_S = (1.0, 3.0, 5.0, 7.0)
CARD = replace(QUICK, layers=2, width=64)


def jpeg(thing: str | None, moved_px: int = 0, size: tuple[int, int] = SIZE) -> bytes:
    """A room with a thing in its middle, or without."""
    rng = np.random.default_rng(3)
    room = rng.integers(90, 160, (24, 32, 1)).repeat(3, 2).astype(np.uint8)
    picture = Image.fromarray(room).resize(SIZE, Image.Resampling.NEAREST)
    draw, box = ImageDraw.Draw(picture), (100 + moved_px, 60, 220 + moved_px, 180)
    if thing == "disc":
        draw.ellipse(box, "red", "yellow", 8)
    elif thing == "box":
        draw.rectangle(box, "blue", "cyan", 20)
    file = io.BytesIO()
    picture.resize(size).save(file, "JPEG", quality=90)
    return file.getvalue()


def word(thing: str) -> np.ndarray:
    """What the thing is called: float32 mono [n] at 44.1 kHz."""
    said = voice(0.6)
    return said if thing == "disc" else np.ascontiguousarray(voice(0.8, 170.0, 5)[::-1])


def remember(home: Home, thing: str) -> str:
    """A live minute in which a thing is shown and named four times."""
    sensed: list[Frame | Clip] = []
    for second in range(8):
        views = [
            np.array(Image.open(io.BytesIO(jpeg(thing, 4 * second + step, (128, 96)))))
            for step in (-4, 4)
        ]
        sensed.append(Frame(float(second), jpeg(thing, 4 * second), *SIZE, 1.0, np.stack(views)))
    padded = np.pad(word(thing), (4_410, SAMPLE_RATE_HZ))
    long_s = len(word(thing)) / SAMPLE_RATE_HZ
    sensed += [Clip(at_s, at_s + long_s, padded, 0.1, -20.0, 30.0) for at_s in NAMED_S]
    key = f"live-20260101T00000{THINGS.index(thing)}Z-00000"
    video = Video(key, ("learn",), (thing,), None, "", 0, "2026-01-01T00:00:00+00:00")
    entry = store.remember(home, video, sensed)
    videos.make_known(home, replace(video, sha256=entry.content))
    return key


def teach(home: Home) -> dict[str, str]:
    """Remember both things and publish a generation that knows them; their videos by thing."""
    keys = {thing: remember(home, thing) for thing in THINGS}
    generations.publish(home, made(home))
    return keys


def made(home: Home, threshold: float = 0.5) -> Generation:
    """A generation that knows what is remembered."""
    manifest = manifests.take(home)
    sight, encoder = _sight(home, manifest)
    speech, mel, hearing = _hearing(home, manifest)
    images, words = [], []
    for entry in manifest.entries:
        frames, clips = store.read_frames(home, entry.video), store.read_clips(home, entry.video)
        seen, heard = encoder.embed(frames), speech.embed(clips)
        of = (home, sight.sha, entry.video, entry.content)
        embeddings.write(*of, seen)
        embeddings.write(*of, encoder.embed_ground(frames), "ground")
        embeddings.write(home, hearing.sha, entry.video, entry.content, heard)
        images.append(seen.mean(axis=0))
        words.append(heard.mean(axis=0))
    pairs = make_pairs(home, manifest, sight, hearing, 1.0)
    inputs = {"image_encoder": sight.sha, "word_autoencoder": hearing.sha, "pairs": pairs}
    card = Card("associator", checkpoints.settings_dict(CARD), 0, manifest.sha, inputs=inputs)
    solved = _solved(np.stack(images), np.stack(words))
    associator = checkpoints.save(home, card, solved.state_dict())
    return Generation(
        sight.sha, mel.sha, hearing.sha, associator.sha, pairs, manifest.sha, threshold
    )


def _sight(home: Home, manifest: Manifest) -> tuple[Checkpoint, ImageEncoder]:
    settings = ImageEncoderSettings()
    encoder = untrained_image_encoder(settings, seed=0)
    frames = pa.concat_tables(store.read_frames(home, e.video) for e in manifest.entries)
    with torch.no_grad():
        encoder.mean.copy_(encoder.features(looked_at(frames, settings)).mean(dim=0))
    card = Card("image_encoder", checkpoints.settings_dict(settings), 0, manifest.sha)
    return checkpoints.save(home, card, encoder.state_dict()), encoder


def _hearing(home: Home, manifest: Manifest) -> tuple[Speech, Checkpoint, Checkpoint]:
    torch.manual_seed(0)
    mel_settings, settings = QUICK_MEL, replace(QUICK_WORD, size=32)
    mel_network = MelAutoencoder(mel_settings).eval()
    network = WordAutoencoder(settings, mel_settings.code).eval()
    network.length_mean.fill_(np.log(60.0))
    of = checkpoints.settings_dict
    mel = checkpoints.save(
        home, Card("mel_autoencoder", of(mel_settings), 0, manifest.sha), mel_network.state_dict()
    )
    card = Card(
        "word_autoencoder", of(settings), 0, manifest.sha, inputs={"mel_autoencoder": mel.sha}
    )
    hearing = checkpoints.save(home, card, network.state_dict())
    return Speech(network, mel_network, "cpu"), mel, hearing


def _solved(pictures: np.ndarray, words: np.ndarray) -> Associator:
    """An associator by which each picture brings its word to mind."""
    torch.manual_seed(0)
    model = Associator(pictures.shape[1], words.shape[1], CARD.layers, CARD.width, CARD.dropout)
    model.eval().fit_scales(torch.from_numpy(pictures), torch.from_numpy(words))
    with torch.no_grad():
        inner = model.mlp[:-1](model.standard_images(torch.from_numpy(pictures)))
        last = model.mlp[-1]
        assert isinstance(last, torch.nn.Linear)
        wanted = model.standard_words(torch.from_numpy(words))
        last.weight.copy_((torch.linalg.pinv(inner) @ wanted).T)
        last.bias.zero_()
    return model
