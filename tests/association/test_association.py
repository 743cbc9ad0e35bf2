"""The associator learns which word goes with which picture from nothing but nearness in time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from upath import UPath

from aela.association.associator import load_associator
from aela.association.consensus import consensus
from aela.association.pairs import find_pairs, make_pairs, read_pairs, weights
from aela.association.settings import DEFAULT, AssociatorSettings
from aela.association.train import train_associator
from aela.capture import Clip, Frame
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.loop import Budget
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.manifest import EmptyMemory, Manifest
from aela.storage import Home

THINGS, FRAMES, CLIPS = 4, 12, 4
SETTINGS = replace(DEFAULT, budget=Budget(steps=200), window_s=3.0)
GREY = np.zeros((2, 8, 8, 3), np.uint8)


def test_a_moment_is_a_frame_and_a_clip_close_in_time():
    frames, clips, distance = find_pairs(
        np.array([0.0, 5.0, 9.0]), np.array([1.5, 5.5]), np.array([2.5, 6.5]), 2.0
    )
    assert list(zip(frames.tolist(), clips.tolist(), distance.tolist(), strict=True)) == [
        (0, 0, 1.5),
        (1, 1, 0.5),
    ]


def test_a_moment_is_surer_the_closer():
    values = weights(np.array([0.0, 1.0, 2.0]), 2.0)
    assert values[0] == 1 and values[0] > values[1] > values[2] == pytest.approx(np.exp(-1))


@pytest.fixture
def taught(home: Home, tmp_path: Path) -> tuple[Home, Manifest, Checkpoint, Checkpoint]:
    """Memory of THINGS videos whose pictures and words have embeddings of their own, with noise."""
    rng = np.random.default_rng(0)
    seen, said = rng.normal(size=(THINGS, 64)), rng.normal(size=(THINGS, 32)) + 3
    sight, hearing = (
        checkpoints.save(home, Card(model, {}, 0, "m"), {"w": torch.zeros(1)})
        for model in ("image_encoder", "word_autoencoder")
    )
    for thing in range(THINGS):
        file = UPath(tmp_path / f"thing{thing}.bin")
        file.write_bytes(bytes([thing]))
        video = videos.take_in(home, file, "learn", move=False)
        silence = np.zeros(44_100, np.float32)
        frames = [Frame(float(t), b"jpeg", 8, 8, 1.0, GREY) for t in range(FRAMES)]
        clips = [Clip(3.0 * t, 3 * t + 0.5, silence, 0.0, -20, 20) for t in range(CLIPS)]
        entry = store.remember(home, video, [*frames, *clips])
        images = seen[thing] + 0.3 * rng.normal(size=(FRAMES, 64))
        words = said[thing] + 0.3 * rng.normal(size=(CLIPS, 32))
        embeddings.write(home, sight.sha, entry.video, entry.content, images)
        embeddings.write(home, hearing.sha, entry.video, entry.content, words)
    return home, manifests.take(home), sight, hearing


def _accuracy(home: Home, manifest: Manifest, associator: Checkpoint) -> float:
    """How often the remembered word nearest to the prediction is one of the thing's own."""
    model = load_associator(home, associator.sha)
    inputs = associator.card.inputs
    words, offsets = embeddings.gather(home, inputs["word_autoencoder"], manifest, "clip")
    heard = model.standard_words(torch.from_numpy(words))
    right = []
    with torch.inference_mode():
        for video, offset in offsets.items():
            seen = torch.from_numpy(embeddings.read(home, inputs["image_encoder"], video))
            said = model.standard_words(model(seen))
            nearest = torch.cdist(said, heard).argmin(dim=1)
            right += [offset <= int(row) < offset + CLIPS for row in nearest]
    return float(np.mean(right))


def test_it_learns_which_word_goes_with_which_picture(taught):
    home, manifest, sight, hearing = taught
    pairs = make_pairs(home, manifest, sight, hearing, SETTINGS.window_s)
    trained = train_associator(home, manifest, sight, hearing, pairs, SETTINGS, seed=0)
    barely = replace(SETTINGS, budget=Budget(steps=1))
    untrained = train_associator(home, manifest, sight, hearing, pairs, barely, seed=0)
    assert _accuracy(home, manifest, trained) > 0.95
    assert _accuracy(home, manifest, untrained) < 0.7
    metrics = trained.card.metrics
    assert metrics["last_loss"] < 0.5 * metrics["first_loss"]
    again = train_associator(home, manifest, sight, hearing, pairs, SETTINGS, seed=0)
    assert again.sha == trained.sha


def _moments(said: np.ndarray, seen: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two frames for each clip: embeddings of the things seen and of the words said, and pairs."""
    rng = np.random.default_rng(0)
    things, words = rng.normal(size=(THINGS, 64)), rng.normal(size=(THINGS, 32))
    images = things[np.repeat(seen, 2)] + 0.3 * rng.normal(size=(2 * len(seen), 64))
    codes = words[said] + 0.3 * rng.normal(size=(len(said), 32))
    pairs = np.stack([np.arange(2 * len(seen)), np.repeat(np.arange(len(said)), 2)], axis=1)
    return torch.from_numpy(images).float(), torch.from_numpy(codes).float(), torch.tensor(pairs)


def test_a_word_that_disagrees_with_what_is_said_of_its_like_counts_for_nothing():
    seen = np.repeat(np.arange(THINGS), 8)
    said, wrong = seen.copy(), np.arange(0, len(seen), 3)  # a third, each word in turn
    said[wrong] = (seen[wrong] + 1 + np.arange(len(wrong)) % (THINGS - 1)) % THINGS
    of_clip = consensus(*_moments(said, seen), 8).reshape(-1, 2).mean(dim=1).numpy()
    assert of_clip[wrong].max() < 0.1 < 0.5 < np.delete(of_clip, wrong).min()


def test_a_thing_named_only_once_is_trusted():
    seen = np.array([0] * 8 + [1] * 8 + [2])
    assert consensus(*_moments(seen, seen), 8)[-2:].tolist() == [1, 1]


def test_it_goes_on_from_a_parent(taught):
    home, manifest, sight, hearing = taught
    pairs = make_pairs(home, manifest, sight, hearing, SETTINGS.window_s)
    parent = train_associator(home, manifest, sight, hearing, pairs, SETTINGS, seed=0)
    short = replace(SETTINGS, budget=Budget(steps=1))
    child = train_associator(home, manifest, sight, hearing, pairs, short, seed=1, parent=parent)
    assert child.card.parent == parent.sha
    assert child.card.metrics["first_loss"] < 0.5 * parent.card.metrics["first_loss"]


@pytest.mark.parametrize("sense", ["image_encoder", "word_autoencoder"])
def test_it_begins_anew_when_a_sense_did(taught, sense: str):
    home, manifest, sight, hearing = taught
    pairs = make_pairs(home, manifest, sight, hearing, SETTINGS.window_s)
    first = train_associator(home, manifest, sight, hearing, pairs, SETTINGS, seed=0)
    inputs = {**first.card.inputs, sense: "0" * 64}  # what it joined, nobody went on from
    parent = checkpoints.save(home, replace(first.card, inputs=inputs), {})
    child = train_associator(home, manifest, sight, hearing, pairs, SETTINGS, seed=0, parent=parent)
    assert child.card.parent is None
    assert child.card.metrics["first_loss"] == first.card.metrics["first_loss"]


def test_of_many_new_moments_some_are_drawn_from_all_of_memory(taught):
    home, manifest, sight, hearing = taught
    pairs = make_pairs(home, manifest, sight, hearing, SETTINGS.window_s)
    half = len(read_pairs(home, pairs)) // 2
    few = replace(SETTINGS, moments_most=half)
    trained = train_associator(home, manifest, sight, hearing, pairs, few, seed=0)
    assert trained.card.metrics["moments"] == half
    assert _accuracy(home, manifest, trained) > 0.9


def test_without_moments_it_says_what_to_do(taught):
    home, manifest, sight, hearing = taught
    nothing = make_pairs(home, Manifest(()), sight, hearing, 2.0)
    assert len(read_pairs(home, nothing)) == 0
    with pytest.raises(EmptyMemory, match="named"):
        train_associator(home, manifest, sight, hearing, nothing, SETTINGS, seed=0)


@pytest.mark.parametrize(
    "wrong", [{"layers": 1}, {"dropout": 1.0}, {"window_s": 0}, {"contrast": -1}, {"consensus": -1}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError):
        AssociatorSettings(**wrong)
