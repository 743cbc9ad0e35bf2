"""From dropped videos to spoken predictions, through Dagster, with trainers in their processes."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from dagster import DagsterRun, DagsterRunStatus
from rich.console import Console
from upath import UPath

from aela.capture import Frame
from aela.evaluation.score import score
from aela.memory import store, videos
from aela.memory.forget import forget
from aela.mimicry import generation as generations
from aela.mimicry.predict import PREDICTIONS, read_predictions
from aela.mimicry.recall import Mimic
from aela.mimicry.trace import trace
from aela.storage import Home, read_json
from aela_dagster import records, scoring
from aela_dagster.definitions import defs
from aela_dagster.jobs import TRAINING
from aela_dagster.sensors import SENSORS
from resources import compute
from resources.memory import Memory
from resources.schedule import Schedule

EFFORT = {"preset": "quick", "effort": 0.05, "threads": 1}


@pytest.fixture(scope="module")
def lived(nursery: Path, tmp_path_factory: pytest.TempPathFactory):
    """A home in which everything ran once, driven by the sensors as the daemon would."""
    home = Home.at(tmp_path_factory.mktemp("home"))
    patch = pytest.MonkeyPatch()
    patch.setenv("AELA_HOME", str(home.root))
    with dg.DagsterInstance.ephemeral() as instance:
        for role, folder in (("learn", "train"), ("watch", "test")):
            inbox = Path(str(home.inbox(role)))
            shutil.copytree(nursery / folder, inbox)
            for video in inbox.iterdir():
                os.utime(video, (0, 0))  # nobody is writing it any more
        ticks = _until_quiet(instance)
        yield home, instance, ticks
    patch.undo()


def _until_quiet(instance: dg.DagsterInstance) -> list[str]:
    """Tick the sensors and run what they ask for until none asks any more; the jobs run."""
    cursor, jobs, asked = None, [], set()
    resources = {"memory": Memory(), "schedule": Schedule()}
    for _ in range(8):
        quiet = True
        for sensor in SENSORS:
            known = cursor if sensor.name == "inbox" else None
            tick: Any = sensor(dg.build_sensor_context(instance, known, resources=resources))
            if isinstance(tick, dg.SensorResult):
                cursor = tick.cursor if sensor.name == "inbox" else cursor
                for addition in tick.dynamic_partitions_requests or []:
                    instance.add_dynamic_partitions("videos", list(addition.partition_keys))
                tick = tick.run_requests or []
            requests = [] if isinstance(tick, dg.SkipReason) else tick
            for request in [requests] if isinstance(requests, dg.RunRequest) else requests:
                assert request.run_key not in asked, "nothing is asked for twice"
                asked.add(request.run_key)
                quiet = False
                job = request.job_name or sensor.job_name or ""
                result = defs.resolve_job_def(job).execute_in_process(
                    instance=instance,
                    partition_key=request.partition_key,
                    tags=dict(request.tags),
                    run_config={
                        "resources": {"compute": {"config": EFFORT}},
                        **request.run_config,
                    },
                )
                assert result.success
                jobs.append(job)
        if quiet and jobs:
            return jobs
    raise AssertionError(f"The sensors never came to rest: {jobs}")


def test_dropped_videos_are_ingested_learned_and_watched_once(lived):
    home, _, jobs = lived
    trainings = [job.name for job in TRAINING.values()]
    assert jobs == ["ingest"] * 5 + [*trainings, "watch", "evaluate"]
    assert len(store.remembered(home, "learn")) == 4
    for role in ("learn", "watch"):
        assert list(home.inbox(role).iterdir()) == []


def test_predictions_lead_back_to_memory(lived):
    home, instance, _ = lived
    generation = generations.required(home)
    [entry] = store.remembered(home, "watch")
    table = read_predictions(home, entry.video, generation.sha)
    assert table.schema.equals(PREDICTIONS)
    assert len(table) == entry.frames > 0
    learnt = {e.video for e in store.remembered(home, "learn")}
    for row in table.to_pylist():
        assert row["generation"] == generation.sha
        assert row["manifest"] == generation.manifest
        assert row["clip_video"] in learnt
        assert {frame["video"] for frame in row["frames"]} <= learnt
        assert row["said"] == (row["novelty"] <= generation.threshold)
        assert (row["sound"] is None) == (not row["said"])
        if row["sound"]:
            samples, rate = soundfile.read(str(home.root / row["sound"]))
            assert rate == 44_100 and 0 < abs(samples).max() <= 1
    found = trace(home, f"{entry.video[:8]}@3")
    assert {e.video for e in found.manifest.entries} == learnt
    assert found.checkpoints["associator"].card.inputs["image_encoder"] == generation.image_encoder
    event = instance.get_latest_materialization_event(dg.AssetKey("predictions"))
    assert event and event.asset_materialization
    assert event.asset_materialization.metadata["generation"].value == generation.sha


def test_losses_are_in_the_event_log_and_checks_have_passed(lived):
    _, instance, _ = lived
    checks = []
    for model, job in TRAINING.items():
        [run] = instance.get_runs(dg.RunsFilter(job_name=job.name))
        log = instance.all_logs(run.run_id)
        assert any(record.user_message.startswith(f"{model} step") for record in log)
        checks += [
            record.dagster_event.asset_check_evaluation_data
            for record in log
            if record.dagster_event
            and record.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
        ]
    assert len(checks) == 6 and all(check.passed for check in checks)


def test_models_that_train_at_the_same_time_share_the_cores(instance: dg.DagsterInstance):
    assert compute.fair_share(instance) == compute.cores()
    for model in TRAINING:
        tags = {compute.TRAINS_TAG: model}
        instance.add_run(DagsterRun("any", tags=tags, status=DagsterRunStatus.STARTED))
    assert compute.fair_share(instance) == max(1, compute.cores() // 4)


def test_a_video_that_cannot_be_watched_does_not_stop_the_others(
    lived, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home, instance, _ = lived
    monkeypatch.setenv("AELA_HOME", str(home.root))
    [good] = [entry.video for entry in store.remembered(home, "watch")]
    file = UPath(tmp_path / "bad.mp4")
    file.write_bytes(b"bad")
    bad = videos.take_in(home, file, "watch", move=True)
    views = np.zeros((2, 8, 8, 3), np.uint8)
    store.remember(home, bad, [Frame(0.0, b"no picture", 8, 8, 1.0, views)])
    try:
        result = defs.resolve_job_def("watch").execute_in_process(
            instance=instance,
            run_config={"ops": {"look": {"config": {"videos": [bad.video, good]}}}},
            raise_on_error=False,
        )
        assert not result.success
        run = result.run_id
        assert f"1 of 2 videos could not be watched: {bad.video}: " in records.reason(instance, run)
        log = instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        told = [entry.dagster_event for entry in log if entry.dagster_event]
        made = {
            (str(event.asset_key and event.asset_key.path[0]), event.partition) for event in told
        }
        assert made == {("predictions", good), ("spoken_video", good)}
    finally:
        forget(home, bad.video)


def test_one_video_is_watched_as_a_partition(lived, monkeypatch: pytest.MonkeyPatch):
    home, instance, _ = lived
    monkeypatch.setenv("AELA_HOME", str(home.root))
    [entry] = store.remembered(home, "watch")
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey("predictions")],
        partition_key=entry.video,
    )
    [event] = result.asset_materializations_for_node("predictions")
    assert event.metadata["generation"].value == generations.required(home).sha


def test_the_spoken_video_and_the_report_are_there(lived):
    home, _, _ = lived
    generation = generations.required(home)
    [entry] = store.remembered(home, "watch")
    spoken = home.spoken_video(entry.video, generation.sha)
    assert spoken.stat().st_size > 10_000
    report = home.report(generation.sha)
    assert "<html" in report.read_text()
    metrics = read_json(home.evaluation(generation.sha) / "metrics.json")
    assert 0 < metrics["sign_accuracy"]["train"]["centred"] <= 1


def test_labels_are_told_in_the_report_when_scored(lived, nursery: Path, tmp_path: Path):
    home, _, _ = lived
    report = home.report(generations.required(home).sha)
    assert "What it pictures" in report.read_text()
    assert "Was it right?" not in report.read_text()
    scores = tmp_path / "scores.json"
    labels, tables = nursery / "labels.json", Path(str(home.all_predictions))
    scoring.run(Console(quiet=True), home, tables, labels, scores, False, "quick", 0)
    assert "Was it right?" in report.read_text()
    found = json.loads(scores.read_text())
    assert 0 <= found["pictured"]["all"] <= 1


def test_the_score_reads_what_was_predicted(lived, nursery: Path):
    home, _, _ = lived
    tables = [Path(str(path)) for path in home.all_predictions.glob("*/*.parquet")]
    result = score(tables, json.loads((nursery / "labels.json").read_text()), home)
    assert result["unlabelled"] == []
    assert result["frames"] == sum(pq.read_metadata(path).num_rows for path in tables)
    assert result["chance"] == 0.5
    assert 0 <= result["remembered"]["word_accuracy_forced"]["all"] <= 1


def test_each_prediction_is_of_one_generation_whatever_is_published_or_rolled_back(
    lived, monkeypatch: pytest.MonkeyPatch
):
    home, instance, _ = lived
    monkeypatch.setenv("AELA_HOME", str(home.root))
    first = generations.required(home)
    [entry] = store.remembered(home, "watch")
    others = [replace(first, threshold=t, parent=first.sha) for t in (0.0, 1.0)]
    generations.publish(home, others[0])
    assert _asked(instance) == [entry.video]
    load = Mimic.load

    def published_meanwhile(*arguments: Any, **options: Any) -> Mimic:
        mimic = load(*arguments, **options)
        generations.publish(home, others[1])
        return mimic

    with monkeypatch.context() as patch:
        patch.setattr(Mimic, "load", published_meanwhile)
        assert _watched(instance, entry.video)
    silent = home.predictions(entry.video, others[0].sha)
    rows = read_predictions(home, entry.video, others[0].sha).to_pylist()
    assert {row["generation"] for row in rows} == {others[0].sha}
    assert not any(row["said"] for row in rows) and silent.with_suffix(".mp4").exists()
    assert not home.predictions(entry.video, others[1].sha).exists()
    assert _asked(instance) == [entry.video], "the one published meanwhile has not looked yet"
    assert _watched(instance, entry.video)
    rows = read_predictions(home, entry.video, others[1].sha).to_pylist()
    assert {row["generation"] for row in rows} == {others[1].sha} and rows[0]["said"]
    assert generations.roll_back(home).sha == first.sha
    assert _asked(instance) == [], "what it said before is current again"
    assert trace(home, f"{entry.video}@3").generation.sha == first.sha


def _asked(instance: dg.DagsterInstance) -> list[str]:
    """The videos that are to be watched."""
    sensor: Any = defs.resolve_sensor_def("watching")
    tick = sensor(dg.build_sensor_context(instance, resources={"memory": Memory()}))
    requests = [] if isinstance(tick, dg.SkipReason) else tick.run_requests
    return [video for request in requests for video in json.loads(request.tags["aela/videos"])]


def _watched(instance: dg.DagsterInstance, video: str) -> bool:
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey("predictions"), dg.AssetKey("spoken_video")],
        partition_key=video,
    )
    return result.success
