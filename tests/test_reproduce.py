"""A checkpoint trained again from its card has the same weights, or it is said what differs."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner
from upath import UPath

from aela.capture import CaptureSettings, capture
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import (
    IMAGE_DECODER,
    MODELS,
    TRAINED,
    Checkpoint,
    UnknownCheckpoint,
)
from aela.learning.loop import LEAST_STEPS, Budget
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.forget import forget
from aela.memory.manifest import Manifest
from aela.presets import Preset, preset
from aela.reproduce import reproduce
from aela.speech.speech import load_speech
from aela.storage import Home, read_json, write_json
from aela.trainers import train_on
from aela.vision.encoder import load_image_encoder
from aela_dagster.cli import app

SEED = 3
BELOW = {
    "word_autoencoder": ("mel_autoencoder",),
    "associator": ("image_encoder", "word_autoencoder"),
    IMAGE_DECODER: ("image_encoder",),
}


@dataclass(frozen=True)
class Learned:
    """A home in which each model was trained for a few steps, and then again on top of that."""

    home: Home
    manifest: Manifest
    first: dict[str, Checkpoint]
    second: dict[str, Checkpoint]


def _tiny(model: str, settings: Preset) -> object:
    return dataclasses.replace(getattr(settings, model), budget=Budget(steps=3, minutes=5.0))


def _train(home: Home, manifest: Manifest, earlier: dict[str, Checkpoint]) -> dict[str, Checkpoint]:
    made: dict[str, Checkpoint] = {}
    embedding: dict[str, Callable] = {
        "image_encoder": lambda sha: load_image_encoder(home, sha).embed,
        "word_autoencoder": lambda sha: load_speech(home, sha).embed,
    }
    for model in TRAINED:
        made[model] = train_on(
            home,
            model,
            manifest,
            _tiny(model, preset("quick")),
            {name: made[name].sha for name in BELOW.get(model, ())},
            seed=SEED,
            parent=earlier.get(model),
        )
        if model in embedding:
            sense = "frame" if model == "image_encoder" else "clip"
            sha = made[model].sha
            embeddings.refresh(home, sha, manifest, sense, embedding[model](sha))
    return made


@pytest.fixture(scope="module")
def learned(nursery: Path, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    home = Home.at(tmp_path_factory.mktemp("learned"))
    for path in sorted((nursery / "train").glob("*.mp4"))[:2]:
        record = videos.take_in(home, UPath(path), "learn", move=False)
        store.remember(home, record, capture(path, CaptureSettings()))
    manifest = manifests.take(home)
    first = _train(home, manifest, {})
    return Learned(home, manifest, first, _train(home, manifest, first))


def _files(home: Home) -> dict[str, float]:
    root = Path(str(home.root))
    found = (p for p in root.rglob("*") if p.is_file() and "cache" not in p.parts)
    return {str(p): p.stat().st_mtime for p in found}


@pytest.mark.parametrize("model", TRAINED)
def test_the_weights_are_the_same_bit_by_bit(learned: Learned, model: str):
    before = _files(learned.home)
    for checkpoint in (learned.first[model], learned.second[model]):
        found = reproduce(learned.home, checkpoint.sha[:16])
        assert found.equal, (found.apart, found.differs)
        assert found.weights > 0 and not found.differs
    assert learned.second[model].card.parent == (
        learned.first[model].sha if model in MODELS else None
    )
    assert _files(learned.home) == before


def test_a_round_is_repeated_with_the_part_of_the_budget_that_was_for_what_was_new(
    learned: Learned, tmp_path: Path
):
    home, model = _copy(learned.home, tmp_path), "mel_autoencoder"
    budget = Budget(steps=30, minutes=5.0, rows=100_000)
    settings = dataclasses.replace(preset("quick").mel_autoencoder, budget=budget)
    parent = learned.first[model]
    made = train_on(home, model, learned.manifest, settings, {}, seed=SEED, parent=parent)
    assert made.card.metrics["steps"] == LEAST_STEPS < budget.steps
    found = reproduce(home, made.sha)
    assert found.equal, (found.apart, found.differs)


@pytest.mark.parametrize("model", ["associator", IMAGE_DECODER])
def test_embeddings_that_were_deleted_are_made_again(learned: Learned, model: str, tmp_path: Path):
    home = _copy(learned.home, tmp_path)
    for path in home.all_embeddings.glob("*/*.parquet"):
        path.unlink()
    assert reproduce(home, learned.second[model].sha).equal
    assert not list(home.all_embeddings.glob("*/*.parquet"))


def test_a_training_of_another_seed_is_not_the_same(learned: Learned, tmp_path: Path):
    home = _copy(learned.home, tmp_path)
    checkpoint = learned.first["associator"]
    slow = {**checkpoint.card.metrics, "seconds": 200.0}
    versions = {"torch": "0.4"}
    _rewrite(home, checkpoint, seed=SEED + 1, versions=versions, code_version="0.0.1", metrics=slow)
    found = reproduce(home, checkpoint.sha)
    assert found.trained and not found.equal and found.apart
    told = " ".join(found.differs)
    assert "torch was 0.4" in told and "version 0.0.1" in told and "minutes" in told


def test_a_card_of_the_first_ones_is_reproduced_too(learned: Learned, tmp_path: Path):
    home = _copy(learned.home, tmp_path)
    checkpoint = learned.first["mel_autoencoder"]
    path = home.models("mel_autoencoder") / f"{checkpoint.sha}.json"
    card = read_json(path)
    write_json(path, {k: v for k, v in card.items() if k not in ("device", "threads", "versions")})
    assert reproduce(home, checkpoint.sha).equal


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metrics": {"steps": 2.0}}, "ended by minutes, after 2 of 3 steps"),
        ({"metrics": {}}, "never trained"),
        ({"device": "cuda"}, "trained on cuda"),
        ({"parent": "f" * 64}, "no associator checkpoint ffff"),
        ({"manifest": "f" * 64}, "no manifest ffff"),
    ],
)
def test_what_cannot_be_repeated_is_said(
    learned: Learned, tmp_path: Path, changes: dict, says: str
):
    home = _copy(learned.home, tmp_path)
    checkpoint = learned.first["associator"]
    _rewrite(home, checkpoint, **changes)
    found = reproduce(home, checkpoint.sha)
    assert not found.trained and not found.equal
    assert says in " ".join(found.differs)


def test_memory_that_changed_is_said(learned: Learned, tmp_path: Path):
    home = _copy(learned.home, tmp_path)
    gone, anew = (entry.video for entry in learned.manifest.entries)
    index = home.index / f"{anew}.json"
    write_json(index, {**read_json(index), "content": "of other rows"})
    forget(home, gone)
    found = reproduce(home, learned.first["mel_autoencoder"].sha)
    assert not found.trained
    assert f"{gone}, which it learned from, was forgotten." in found.differs
    assert f"{anew}, which it learned from, was captured anew." in found.differs


def test_the_command_says_what_came_of_it(learned: Learned, tmp_path: Path):
    sha = learned.first["mel_autoencoder"].sha
    command = ["reproduce", sha[:12], "--home", str(learned.home.root)]
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, command)
    assert shown.exit_code == 0 and "the same weights, bit by bit" in shown.output
    home = _copy(learned.home, tmp_path)
    forget(home, learned.manifest.entries[0].video)
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*command[:3], str(home.root)])
    assert shown.exit_code == 1 and "was forgotten" in shown.output


def test_a_start_of_several_or_of_none_is_refused(learned: Learned, tmp_path: Path):
    home = _copy(learned.home, tmp_path)
    for name in ("one", "other"):
        write_json(home.models("image_encoder") / f"{name}.json", {})
    with pytest.raises(UnknownCheckpoint, match="the start of several"):
        reproduce(home, "o")
    for nothing in ("", "no such thing"):
        with pytest.raises(UnknownCheckpoint, match="aela trace"):
            reproduce(learned.home, nothing)


def test_a_card_tells_where_it_was_trained(learned: Learned):
    card = learned.first["image_encoder"].card
    assert card.device == "cpu" and card.threads == torch.get_num_threads()
    assert card.versions == checkpoints.versions() and torch.__version__.startswith(
        card.versions["torch"]
    )


def _copy(home: Home, folder: Path) -> Home:
    target = UPath(folder / "copy")
    home.root.fs.cp(str(home.root), str(target), recursive=True)
    return Home.at(target)


def _rewrite(home: Home, checkpoint: Checkpoint, **changes: object) -> None:
    path = home.models(checkpoint.card.model) / f"{checkpoint.sha}.json"
    write_json(path, {**read_json(path), **changes})
