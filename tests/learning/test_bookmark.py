"""Trainings that are killed go on where they were, and end as if nothing had happened."""

import errno
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from aela.association.pairs import make_pairs
from aela.association.settings import AssociatorSettings
from aela.association.train import train_associator
from aela.learning import bookmark as bookmarks
from aela.learning import checkpoints, embeddings
from aela.learning.bookmark import SAVE_EVERY, Bookmark
from aela.learning.checkpoints import TRAINED, Card, Checkpoint
from aela.learning.loop import Budget, run
from aela.memory import manifest as manifests
from aela.memory.forget import forget
from aela.memory.manifest import Manifest
from aela.speech.mel_autoencoder import train_mel_autoencoder
from aela.speech.settings import QUICK_MEL, QUICK_WORD
from aela.speech.word_autoencoder import train_word_autoencoder
from aela.storage import Home
from aela.vision.decoder import train_image_decoder
from aela.vision.settings import DEFAULT, ImageDecoderSettings
from aela.vision.train import train_image_encoder

Life = Any  # the home that the fixture `life` makes
Train = Callable[..., Checkpoint]  # seed=, ... -> what was learned

STEPS = 12
BUDGET = Budget(STEPS)
VIDEOS = 10  # enough words for some to be held out
SEE = replace(DEFAULT, budget=BUDGET, input_px=32, batch=8, queue=16)
HEAR = replace(QUICK_MEL, budget=BUDGET, width=8, batch=4, crop_s=0.32)
READ = replace(QUICK_WORD, budget=BUDGET, size=16, batch=8, other_voices=1)
JOIN = AssociatorSettings(budget=BUDGET, width=16, batch=8, candidates=4)
DRAW = ImageDecoderSettings(budget=BUDGET, batch=4)

save = Bookmark.save


class Killed(Exception):
    """As by a signal: nothing of the training is left but what was written."""


@contextmanager
def killed_in(step: int) -> Iterator[None]:
    """End the training in the middle of a step, counted from its start or where it goes on."""
    left = step

    def stepped(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    hook = register_optimizer_step_post_hook(stepped)
    try:
        yield
    finally:
        hook.remove()


@pytest.fixture(autouse=True)
def _now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bookmark is written after every third step."""
    monkeypatch.setenv(SAVE_EVERY, "0")
    calls = count()
    monkeypatch.setattr(Bookmark, "save", lambda self: next(calls) % 3 or save(self))


@pytest.fixture
def trains(life: Life) -> dict[str, Train]:
    """How each model is trained on a small memory."""
    home: Home = life.home
    for number in range(2, VIDEOS):
        life.remember(f"thing{number}", "learn")
    manifest = manifests.take(home)
    card = Card("image_encoder", checkpoints.settings_dict(SEE), 0, manifest.sha)
    sight = checkpoints.save(home, card, {})
    words = checkpoints.save(home, Card("word_autoencoder", {}, 0, manifest.sha), {})
    rng = np.random.default_rng(0)
    for entry in manifest.entries:
        of = (entry.video, entry.content)
        embeddings.write(home, sight.sha, *of, embeddings.unit(rng.normal(size=(3, 64))))
        embeddings.write(home, words.sha, *of, rng.normal(size=(2, 6)), "clip")
    pairs = make_pairs(home, manifest, sight, words, 2.0)

    @cache
    def mel() -> Checkpoint:
        return train_mel_autoencoder(home, manifest, replace(HEAR, budget=Budget(1)), seed=0)

    return {
        "image_encoder": lambda **more: train_image_encoder(home, manifest, SEE, **more),
        "mel_autoencoder": lambda **more: train_mel_autoencoder(home, manifest, HEAR, **more),
        "word_autoencoder": lambda **more: train_word_autoencoder(
            home, manifest, mel(), READ, **more
        ),
        "associator": lambda **more: train_associator(
            home, manifest, sight, words, pairs, JOIN, **more
        ),
        "image_decoder": lambda **more: train_image_decoder(home, manifest, sight, DRAW, **more),
    }


def unfinished(home: Home, model: str) -> list[Path]:
    return sorted(Path(str(home.unfinished(model))).glob("*"))


def killed(train: Train, step: int, **more: Any) -> None:
    with killed_in(step), pytest.raises(Killed):
        train(**{"seed": 1, **more})


@pytest.mark.parametrize("model", TRAINED)
def test_a_training_killed_again_and_again_ends_with_the_same_weights(
    life: Life, trains: dict[str, Train], model: str, caplog: pytest.LogCaptureFixture
):
    train, draw = trains[model], random.Random(model)
    whole = train(seed=1)
    caplog.set_level(logging.INFO, "aela")
    killed(train, draw.randrange(5, 9))
    assert len(unfinished(life.home, model)) == 1
    killed(train, draw.randrange(4))
    torch.rand(draw.randrange(9))  # another process has other random numbers
    again = train(seed=1)
    assert "goes on at step" in caplog.text
    assert again.sha == whole.sha
    assert again.card.metrics["steps"] == STEPS
    assert again.card.curve[0] == whole.card.curve[0]
    assert unfinished(life.home, model) == []


def test_a_killed_round_ends_with_the_same_weights(life: Life, trains: dict[str, Train]):
    home, train = life.home, trains["image_encoder"]
    known = Manifest(manifests.of_now(home).entries[:7])  # What is new has batches of its own.
    manifests.write(home, known)
    parent = train_image_encoder(home, known, SEE, seed=0)
    for entry in known.entries:
        values = embeddings.unit(np.random.default_rng(0).normal(size=(3, 64)))
        embeddings.write(home, parent.sha, entry.video, entry.content, values)
    whole = train(seed=1, parent=parent)
    killed(train, 7, parent=parent)
    assert unfinished(home, "image_encoder")
    assert train(seed=1, parent=parent).sha == whole.sha
    assert "last_moved" in whole.card.metrics  # It was held near what the parent says.


@pytest.mark.parametrize("step", [2, 5, 13])  # It collapses in the fourth and begins again.
def test_a_training_that_collapses_is_killed_before_and_after(
    life: Life, trains: dict[str, Train], step: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("aela.vision.train.COLLAPSED", 0.0)  # as if every training collapsed
    train = trains["image_encoder"]
    whole = train(seed=1)
    assert whole.card.settings["centred"]
    killed(train, step)
    if step == 13:
        monkeypatch.setattr("aela.vision.train.COLLAPSED", 1.0)  # It is known to have collapsed.
    assert train(seed=1).sha == whole.sha
    assert unfinished(life.home, "image_encoder") == []


class Things:
    """A part that holds anything."""

    def __init__(self, *things: Any) -> None:
        self.things = things

    def state_dict(self) -> dict[str, Any]:
        return {"things": self.things, "by number": dict(enumerate(self.things))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.things = state["things"]
        assert list(state["by number"]) == list(range(len(self.things)))


@pytest.mark.parametrize(
    "thing",
    [
        None,
        True,
        -(2**127),
        1 / 3,
        "\u00fc",
        torch.zeros(0, 64),
        torch.tensor(True),
        torch.arange(12).reshape(3, 4)[:1, ::3],
        torch.arange(6).reshape(2, 3).T,
        torch.tensor([1.5, float("nan")]).bfloat16(),
        np.arange(8)[:0],
        np.arange(8)[::5][:1],
        np.array([[0.1]]).T,
    ],
    ids=str,
)
def test_a_bookmark_holds_all_that_states_are_made_of(home: Home, thing: Any):
    card = Card("associator", {}, 0, "m")
    written, read = Bookmark(home, card, "cpu"), Bookmark(home, card, "cpu")
    written.hold(things=Things(thing, [thing, (thing,)]))
    save(written)
    found = Things()
    read.hold(things=found)
    assert read.load()
    for one in (found.things[0], found.things[1][1][0]):
        assert type(one) is type(thing)
        if isinstance(thing, torch.Tensor):
            torch.testing.assert_close(one, thing, rtol=0, atol=0, equal_nan=True)
        elif isinstance(thing, np.ndarray):
            np.testing.assert_array_equal(one, thing, strict=True)
        else:
            assert one == thing


def test_seconds_and_minutes_go_on_where_they_were(home: Home):
    def training(until: int) -> list[float]:
        def step(index: int, spent: float) -> dict[str, float]:
            if index == until:
                raise Killed
            time.sleep(0.01)
            seen.append(spent)
            return {"loss": 1.0 + index}

        seen: list[float] = []
        bookmark = Bookmark(home, Card("associator", {}, 0, "m"), "cpu")
        try:
            history = run("associator", step, Budget(10_000, 1 / 60), 1, bookmark=bookmark)
        except Killed:
            return seen
        assert 1 <= history.reports[-1].elapsed_s < 3
        assert history.reports[0].losses == {"loss": 1.0}
        return seen

    before = training(until=40)
    after = training(until=10_000)
    assert before[-4] < after[0] <= before[-1] + 0.2
    assert after[-1] < 1


def test_another_training_begins_at_its_own_beginning(
    life: Life, trains: dict[str, Train], caplog: pytest.LogCaptureFixture
):
    train = trains["associator"]
    whole = train(seed=2)
    killed(train, 7, seed=1)
    caplog.set_level(logging.INFO, "aela")
    assert train(seed=2).sha == whole.sha
    assert "goes on" not in caplog.text
    assert len(unfinished(life.home, "associator")) == 1


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


@pytest.mark.parametrize("damage", [_cut, _flipped, lambda data: b"", lambda data: b"notes"])
def test_a_damaged_bookmark_is_passed_over_in_one_sentence(
    life: Life,
    trains: dict[str, Train],
    damage: Callable[[bytes], bytes],
    caplog: pytest.LogCaptureFixture,
):
    train = trains["mel_autoencoder"]
    whole = train(seed=1)
    killed(train, 7)
    [path] = unfinished(life.home, "mel_autoencoder")
    path.write_bytes(damage(path.read_bytes()))
    assert train(seed=1).sha == whole.sha
    [said] = [record.getMessage() for record in caplog.records]
    assert f"{path} is damaged" in said and said.endswith("; the training starts anew.")
    assert unfinished(life.home, "mel_autoencoder") == []


def test_a_bookmark_of_another_training_or_another_network_is_passed_over(
    life: Life, trains: dict[str, Train], caplog: pytest.LogCaptureFixture
):
    train = trains["associator"]
    whole = train(seed=1)
    killed(train, 7)
    [path] = unfinished(life.home, "associator")
    foreign = path.read_bytes()
    killed(train, 7, seed=2)
    [other] = set(unfinished(life.home, "associator")) - {path}
    path.write_bytes(other.read_bytes())
    assert train(seed=1).sha == whole.sha
    other.write_bytes(foreign)
    assert train(seed=2).sha != whole.sha
    assert caplog.text.count("is of another training; this one starts anew.") == 2
    card = Card("associator", {}, 0, "m")
    for sizes in ((3, 2), (3, 3)):
        network = torch.nn.Linear(*sizes)
        made, chance = network.weight.detach().clone(), np.random.default_rng(0)
        bookmark = Bookmark(life.home, card, "cpu")
        bookmark.hold(chance=chance, network=network)
        assert not bookmark.load()
        assert torch.equal(network.weight, made) and chance.integers(1000) == 850
        save(bookmark)
    assert "does not fit" in caplog.text


def test_a_full_disk_stops_no_training(
    life: Life,
    trains: dict[str, Train],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    train = trains["associator"]
    whole, fsync = train(seed=1), os.fsync

    def full(handle: int) -> None:
        if "unfinished" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr("os.fsync", full)
    assert train(seed=1).sha == whole.sha
    [said] = [record.getMessage() for record in caplog.records]
    assert "goes on without a bookmark: The disk is full" in said
    assert unfinished(life.home, "associator") == []


def test_a_training_that_diverged_starts_anew(home: Home):
    card, reached = Card("associator", {}, 0, "m"), []

    def step(index: int, spent: float) -> dict[str, float]:
        reached.append(index)
        return {"loss": float("nan") if len(reached) == 8 else 1.0}

    with pytest.raises(FloatingPointError):
        run("associator", step, Budget(12), 1, bookmark=Bookmark(home, card, "cpu"))
    run("associator", step, Budget(12), 1, bookmark=Bookmark(home, card, "cpu"))
    assert reached == [*range(8), *range(12)]


def aged(path: Path, days: float) -> Path:
    then = time.time() - 86_400 * days
    os.utime(path, (then, then))
    return path


def test_bookmarks_that_nobody_went_on_with_are_deleted(home: Home):
    def left(seed: int, days: float) -> Path:
        bookmark = Bookmark(home, Card("associator", {}, seed, "m"), "cpu")
        save(bookmark)
        path = Path(str(bookmark.path))
        return aged(path, days)

    old, *recent = (left(seed, days) for seed, days in enumerate((4, 0.1, 0.2, 0.3, 0.4)))
    half = recent[0].with_name(f".{old.name}.part")
    half.write_bytes(b"half")
    aged(half, 4)
    Bookmark(home, Card("associator", {}, 9, "m"), "cpu").load()
    assert unfinished(home, "associator") == sorted(recent[: bookmarks.KEPT])


def test_forgetting_a_video_deletes_what_began_to_learn_from_it(
    life: Life, trains: dict[str, Train]
):
    killed(trains["image_encoder"], 7)
    killed(trains["word_autoencoder"], 7)
    forget(life.home, life.cup)
    for model in ("image_encoder", "word_autoencoder"):
        assert unfinished(life.home, model) == []


def test_forgetting_leaves_what_never_saw_the_video(life: Life, trains: dict[str, Train]):
    killed(trains["image_encoder"], 7)
    forget(life.home, life.remember("late", "learn"))
    assert len(unfinished(life.home, "image_encoder")) == 1


@pytest.mark.parametrize("text", ["soon", "-1", "inf", "nan"])
def test_a_time_that_is_none_is_refused(home: Home, monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv(SAVE_EVERY, text)
    with pytest.raises(ValueError, match=f"{SAVE_EVERY} must be a number of seconds"):
        Bookmark(home, Card("associator", {}, 0, "m"), "cpu")
