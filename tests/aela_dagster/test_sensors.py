"""Sensors compare what is there with what was made of it."""

from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from dagster import DagsterRun, DagsterRunStatus
from upath import UPath

from aela.capture import Clip, Frame
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.storage import Home, write_bytes
from aela_dagster.sensors import MOST_TRIES, learning, reporting, watching
from resources.memory import Memory


@pytest.fixture(autouse=True)
def _home(home: Home) -> Home:
    return home


def _tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> list[dg.RunRequest] | str:
    """What the sensor asks for, or why it does not."""
    result = sensor(dg.build_sensor_context(instance, resources={"memory": Memory()}))
    if isinstance(result, dg.SkipReason):
        return result.skip_message or ""
    if isinstance(result, dg.SensorResult):
        return list(result.run_requests or [])
    assert isinstance(result, dg.RunRequest)
    return [result]


def _remember(home: Home, name: str, role: videos.Role, *, ingested: bool = True) -> str:
    file = UPath(home.root / f"{name}.bin")
    write_bytes(file, name.encode())
    video = videos.take_in(home, file, role, move=True)
    if ingested:
        grey = np.zeros((2, 8, 8, 3), np.uint8)
        silence = np.zeros(44_100, np.float32)
        frame, clip = Frame(0.0, b"j", 8, 8, 1.0, grey), Clip(0.0, 0.5, silence, 0.0, -20, 20)
        store.remember(home, video, [frame, clip])
    return video.video


def _publish(home: Home) -> Generation:
    generation = Generation("i", "m", "w", "a", "p", manifests.take(home).sha, 0.5)
    generations.publish(home, generation)
    return generation


def _fail(instance: dg.DagsterInstance, request: dg.RunRequest, job: str) -> None:
    tags = {**request.tags, "dagster/run_key": request.run_key or ""}
    if request.partition_key:
        tags["dagster/partition"] = request.partition_key
    instance.add_run(DagsterRun(job_name=job, tags=tags, status=DagsterRunStatus.FAILURE))


def test_learning_waits_for_memory_and_for_what_is_being_ingested(
    home: Home, instance: dg.DagsterInstance
):
    assert "no frames and words" in str(_tick(learning, instance))
    _remember(home, "cup", "learn")
    _remember(home, "pen", "learn", ingested=False)
    assert "Waiting until pen-" in str(_tick(learning, instance))


def test_what_is_new_is_learned_and_what_is_learned_is_not_learned_again(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    [request] = _tick(learning, instance)
    assert isinstance(request, dg.RunRequest)
    _publish(home)
    assert "learned" in str(_tick(learning, instance))
    _remember(home, "test", "watch")
    assert "learned" in str(_tick(learning, instance))
    _remember(home, "pen", "learn")
    [again] = _tick(learning, instance)
    assert isinstance(again, dg.RunRequest) and again.run_key != request.run_key


def test_a_failing_training_is_tried_again_but_not_for_ever(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    keys = []
    for _ in range(MOST_TRIES):
        [request] = _tick(learning, instance)
        assert isinstance(request, dg.RunRequest)
        keys.append(request.run_key)
        _fail(instance, request, "learn")
    assert len(set(keys)) == MOST_TRIES
    assert f"failed {MOST_TRIES} times" in str(_tick(learning, instance))
    _remember(home, "pen", "learn")
    assert isinstance(_tick(learning, instance), list)


def test_no_two_trainings_at_once(home: Home, instance: dg.DagsterInstance):
    _remember(home, "cup", "learn")
    instance.add_run(DagsterRun(job_name="learn", status=DagsterRunStatus.STARTED))
    assert "in progress" in str(_tick(learning, instance))


def test_each_generation_watches_everything_once(
    home: Home, instance: dg.DagsterInstance, tmp_path: Path
):
    _remember(home, "cup", "learn")
    video = _remember(home, "test", "watch")
    assert "Nothing is learned" in str(_tick(watching, instance))
    first = _publish(home)
    [request] = _tick(watching, instance)
    assert isinstance(request, dg.RunRequest) and request.partition_key == video
    assert "Waiting" in str(_tick(reporting, instance))
    write_bytes(home.predictions(video, first.sha), b"")
    assert "Every watched video" in str(_tick(watching, instance))
    assert isinstance(_tick(reporting, instance), list)
    _remember(home, "pen", "learn")
    _publish(home)
    [request] = _tick(watching, instance)
    assert isinstance(request, dg.RunRequest) and request.partition_key == video
