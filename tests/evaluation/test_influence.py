"""Influence: an answer changes without the moments of its word, and not without those of others."""

import io
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from upath import UPath

from aela.association.associator import load_associator
from aela.association.pairs import make_pairs
from aela.association.settings import AssociatorSettings
from aela.association.train import train_associator
from aela.capture import SAMPLE_RATE_HZ, Clip, Frame
from aela.evaluation.influence import LeavingOut
from aela.learning import embeddings
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.loop import Budget
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.mimicry.generation import Generation
from aela.mimicry.recall import Mimic, load_remembering
from aela.mimicry.settings import MimicrySettings
from aela.storage import Home

THINGS = {  # Hz, from and to
    "cup": (200, 900),
    "pen": (1800, 500),
    "key": (600, 3200),
    "hat": (3500, 2400),
}
SAYINGS = 6
SETTINGS = AssociatorSettings(
    window_s=0.5, width=32, dropout=0.0, batch=32, neutral_s=0.0, budget=Budget(steps=150)
)


class Eyes:
    """Sees the thing that is in a frame; the frame's width tells which."""

    def __init__(self, looks: dict[int, np.ndarray]) -> None:
        self.looks = looks

    def embed(self, frames: pa.Table) -> np.ndarray:
        return np.stack([self.looks[width] for width in frames["width"].to_pylist()])


def _saying(thing: str, random: np.random.Generator) -> np.ndarray:
    first, last = THINGS[thing]
    hertz = np.linspace(first, last, SAMPLE_RATE_HZ // 2) * random.uniform(0.97, 1.03)
    sound = sum(np.sin(2 * np.pi * n * np.cumsum(hertz) / SAMPLE_RATE_HZ) / n for n in (1, 2, 3))
    return (0.3 * sound + random.normal(0, 1e-3, len(hertz))).astype(np.float32)


def _remember(home: Home, name: str, number: int, random: np.random.Generator) -> str:
    source = UPath(home.root / f"{name}.mp4")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(name.encode())
    thing = name.split("_")[0]
    role = "watch" if name.endswith("watched") else "learn"
    video = videos.take_in(home, source, role, move=True)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    views, senses = np.zeros((2, 8, 8, 3), np.uint8), []
    for saying in range(SAYINGS):
        at = 3.0 * saying
        senses.append(Frame(at, buffer.getvalue(), number, 8, 1.0, views))
        senses.append(Clip(at, at + 0.5, _saying(thing, random), 0.0, -20, 20))
    store.remember(home, video, senses)
    return video.video


@pytest.fixture
def asked(home: Home, tmp_path: Path) -> tuple[LeavingOut, dict[str, str]]:
    random = np.random.default_rng(0)
    keys = {name: _remember(home, name, n, random) for n, name in enumerate(THINGS)}
    watched = {name: _remember(home, f"{name}_watched", n, random) for n, name in enumerate(THINGS)}
    looks = embeddings.unit(random.normal(size=(len(THINGS), 16))).astype(np.float32)
    words = random.normal(size=(len(THINGS), 8))
    manifest = manifests.take(home)
    for n, name in enumerate(THINGS):
        content = store.content(home, keys[name]) or ""
        seen = embeddings.unit(looks[n] + random.normal(0, 0.05, (SAYINGS, 16)))
        embeddings.write(home, "eyes", keys[name], content, seen)
        embeddings.write(home, "eyes", keys[name], content, np.eye(16)[:1], "ground")
        heard = words[n] + random.normal(0, 0.05, (SAYINGS, 8))
        embeddings.write(home, "ears", keys[name], content, heard)
    eyes = Checkpoint("eyes", Card("image_encoder", {}, 0, manifest.sha))
    ears = Checkpoint("ears", Card("word_autoencoder", {}, 0, manifest.sha))
    pairs = make_pairs(home, manifest, eyes, ears, SETTINGS.window_s)
    made = train_associator(home, manifest, eyes, ears, pairs, SETTINGS, seed=0)
    mimic = Mimic(
        Generation("eyes", "mel", "ears", made.sha, pairs, manifest.sha, 0.5),
        MimicrySettings(),
        load_remembering(home, manifest.sha, "eyes", "ears"),
        cast(Any, Eyes(dict(enumerate(looks)))),
        load_associator(home, made.sha),
        cast(Any, None),
        "cpu",
    )
    return LeavingOut(home, mimic, SETTINGS, seed=0), watched


def test_an_answer_follows_from_the_moments_of_its_word(asked: tuple[LeavingOut, dict[str, str]]):
    leaving_out, watched = asked
    of = leaving_out.mimic.remembering.clip_videos
    found = {name: leaving_out.influence(video, 6.0) for name, video in watched.items()}
    for name, one in found.items():
        assert one is not None and of[one.clip].startswith(f"{name}-")
        assert (one.clips, one.moments) == (SAYINGS, SAYINGS)
    # Knowing nothing of a thing, it may still come to its word by chance.
    assert sum(one.changed for one in found.values() if one) >= len(THINGS) - 1
    assert not any(one.control_changed for one in found.values() if one)


def test_which_clips_are_one_word_is_heard(asked: tuple[LeavingOut, dict[str, str]]):
    leaving_out, _ = asked
    of = leaving_out.mimic.remembering.clip_videos
    assert (leaving_out.same == (of[:, None] == of[None])).all()


def test_what_is_left_out_takes_its_frames_along(asked: tuple[LeavingOut, dict[str, str]]):
    leaving_out, _ = asked
    whole = leaving_out.moments
    left = leaving_out.without(np.array([0, 1, 7]))
    assert len(left.words) == len(left.images) == len(whole.words) - 3
    assert len(left.pairs) == len(left.weights) == len(whole.pairs) - 3
    kept = [n for n in range(len(whole.words)) if n not in (0, 1, 7)]
    torch.testing.assert_close(left.words, whole.words[kept])
    for frame, clip in left.pairs.tolist():
        assert kept[frame] == kept[clip]  # each is paired with the word heard with it, as before
