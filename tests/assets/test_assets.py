"""Assets through Dagster: versions that name what was made, and failures that say what to do."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import torch
from upath import UPath

from aela.capture import Clip, Frame
from aela.learning import checkpoints
from aela.learning.checkpoints import Card
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.manifest import Manifest
from aela.mimicry import generation as generations
from aela.mimicry import predict, spoken_video
from aela.mimicry.generation import Generation
from aela.storage import Home, write_bytes
from aela_dagster.definitions import defs
from resources.voice import ORIGINAL_VOLUME

GREY = np.zeros((2, 8, 8, 3), np.uint8)
SILENCE = np.zeros(44_100, np.float32)


def _remember(home: Home, folder: Path, count: int) -> None:
    for number in range(count):
        file = UPath(folder / f"video{number}.bin")
        file.write_bytes(f"video {number}".encode())
        video = videos.take_in(home, file, "learn", move=True)
        senses = [Frame(0.0, b"jpeg", 8, 8, 1.0, GREY), Clip(0.0, 0.5, SILENCE, 0.0, -20, 20)]
        store.remember(home, video, senses)


def _materialize(
    instance: dg.DagsterInstance, asset: str, partition: str | None = None, **compute: Any
) -> dg.ExecuteInProcessResult:
    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(asset)],
        partition_key=partition,
        raise_on_error=False,
        run_config={"resources": {"compute": {"config": compute}}},
    )


def _failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [e for e in result.all_events if e.is_step_failure]
    data = event.step_failure_data
    assert data.user_failure_data and data.user_failure_data.description, data.error
    return data.user_failure_data.description


def _trained(home: Home, model: str, manifest: str, **metrics: float) -> None:
    card = Card(model, {}, 0, manifest, metrics=metrics)
    checkpoints.set_current(home, checkpoints.save(home, card, {"w": torch.zeros(1)}))


def test_the_memory_is_named_by_its_manifest_also_with_150_videos(
    home: Home, instance: dg.DagsterInstance, tmp_path: Path
):
    _remember(home, tmp_path, 150)
    assert _materialize(instance, "memory").success
    manifest = manifests.current(home)
    assert len(manifest.entries) == 150
    event = instance.get_latest_materialization_event(dg.AssetKey("memory"))
    assert event and event.asset_materialization
    assert (event.asset_materialization.tags or {})["dagster/data_version"] == manifest.sha
    assert event.asset_materialization.metadata["videos"].value == 150


@pytest.mark.parametrize(
    ("asset", "says"),
    [
        ("memory", "inbox"),
        ("image_encoder", "materialize the asset memory"),
        ("word_autoencoder", "mel_autoencoder"),
        ("image_embeddings", "image_encoder"),
        ("pairs", "image_encoder"),
        ("generation", "associator"),
        ("evaluation", "aela learn"),
    ],
)
def test_what_comes_too_early_says_what_to_do_first(
    home: Home, instance: dg.DagsterInstance, asset: str, says: str
):
    selected = "report" if asset == "evaluation" else asset
    job = defs.resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey(asset), *([dg.AssetKey(selected)] if selected != asset else [])]
    result = job.execute_in_process(
        instance=instance, asset_selection=selection, raise_on_error=False
    )
    assert not result.success
    assert says in _failure(result)


def test_too_little_memory_is_said_by_the_trainer(
    home: Home, instance: dg.DagsterInstance, tmp_path: Path
):
    _remember(home, tmp_path, 2)
    assert _materialize(instance, "memory").success
    result = _materialize(instance, "image_encoder")
    assert "2 frames" in _failure(result)
    assert checkpoints.current(home, "image_encoder") is None


def test_an_unknown_preset_is_said(home: Home, instance: dg.DagsterInstance, tmp_path: Path):
    _remember(home, tmp_path, 1)
    assert _materialize(instance, "memory").success
    result = _materialize(instance, "mel_autoencoder", preset="aela9")
    assert "aela9" in _failure(result) and "aela1" in _failure(result)


def test_models_of_different_memories_are_joined_on_what_they_share(
    home: Home, instance: dg.DagsterInstance, tmp_path: Path
):
    _remember(home, tmp_path, 1)
    _trained(home, "image_encoder", manifests.take(home).sha)
    first = manifests.of_now(home)
    _trained(home, "word_autoencoder", Manifest(()).sha)
    manifests.write(home, Manifest(()))
    assert "different memories" in _failure(_materialize(instance, "pairs"))
    _remember(home, tmp_path, 3)
    _trained(home, "word_autoencoder", manifests.take(home).sha)
    result = _materialize(instance, "pairs")
    [event] = result.asset_materializations_for_node("pairs")
    assert event.metadata["dagster/row_count"].value == 1
    assert event.metadata["videos"].value == len(first.entries) == 1


@pytest.mark.parametrize(
    ("check", "metrics", "passes"),
    [
        ("not_collapsed", {"effective_rank": 20.0, "prototypes_used": 0.9}, True),
        ("not_collapsed", {"effective_rank": 1.4, "prototypes_used": 0.4}, True),  # two things
        ("not_collapsed", {"effective_rank": 1.1, "prototypes_used": 0.9}, False),
        ("not_collapsed", {"effective_rank": 20.0, "prototypes_used": 0.01}, False),
        ("loss_falls", {"first_loss": 4.0, "last_loss": 2.0}, True),
        ("loss_falls", {"first_loss": 2.0, "last_loss": 4.0}, False),
        ("loss_falls", {"first_loss": 2.0, "last_loss": float("nan")}, False),
    ],
)
def test_a_collapsed_or_failing_training_is_caught(
    home: Home,
    instance: dg.DagsterInstance,
    check: str,
    metrics: dict[str, float],
    passes: bool,
):
    _trained(
        home,
        "image_encoder",
        "m",
        **{"last_loss": 1.0, "first_loss": 2.0, "loss_of_chance": 4.0, **metrics},
    )
    key = dg.AssetCheckKey(dg.AssetKey("image_encoder"), check)
    job = dg.define_asset_job("check", dg.AssetSelection.checks(key))
    checking = dg.Definitions.merge(defs, dg.Definitions(jobs=[job])).resolve_job_def("check")
    result = checking.execute_in_process(instance=instance, raise_on_error=False)
    [found] = result.get_asset_check_evaluations()
    assert found.passed is passes


def test_how_loud_the_recording_stays_under_the_voice_is_chosen_for_all_or_for_one_run(
    home: Home, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = UPath(tmp_path / "test.bin")
    file.write_bytes(b"test")
    video = videos.take_in(home, file, "watch", move=True).video
    generation = Generation("i", "m", "w", "a", "p", "manifest", 0.5)
    generations.publish(home, generation)
    predict.write(predict.PREDICTIONS.empty_table(), home.predictions(video, generation.sha))
    volumes = []

    def make(source, table, threshold, home, target, volume):
        volumes.append(volume)
        write_bytes(target, b"spoken")

    monkeypatch.setattr(spoken_video, "make_spoken_video", make)
    instance.add_dynamic_partitions("videos", [video])
    job = defs.resolve_implicit_global_asset_job_def()
    for config in ({}, {"resources": {"voice": {"config": {"original_volume": 1.0}}}}):
        assert job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey("spoken_video")],
            partition_key=video,
            run_config=config,
        ).success
    assert volumes == [ORIGINAL_VOLUME, 1.0]
