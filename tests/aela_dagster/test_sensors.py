"""Sensors compare what is there with what was made of it."""

import json
import os
import re
import signal
import threading
import time
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import torch
from dagster import DagsterRun, DagsterRunStatus
from upath import UPath

from aela.capture import Clip, Frame
from aela.learning import checkpoints
from aela.learning.checkpoints import Card
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.forget import forget
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.mimicry.predict import withdraw, write
from aela.storage import Home, read_json, write_bytes, write_json
from aela_dagster import records, ticks
from aela_dagster.jobs import TRAINING
from aela_dagster.records import MOST_TRIES
from aela_dagster.sensors import MOST_REQUESTS, inbox, learning, reporting, watching
from resources.compute import TRAINS_TAG
from resources.memory import Memory
from resources.schedule import Schedule

STARTED, FAILURE = DagsterRunStatus.STARTED, DagsterRunStatus.FAILURE
sight, hearing, words, association = TRAINING


@pytest.fixture(autouse=True)
def _home(home: Home) -> Home:
    return home


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again without waiting."""
    monkeypatch.setattr(records, "BACKOFF_S", 0.0)


def _tick(sensor: dg.SensorDefinition | str, instance: dg.DagsterInstance) -> Any:
    """What the sensor asks for, or that of learning for a model, or why it does not."""
    model = sensor if isinstance(sensor, str) else None
    if isinstance(sensor, str):
        sensor = learning
    resources = {"memory": Memory(), "schedule": Schedule(least_frames=1, least_clips=1)}
    result = sensor(dg.build_sensor_context(instance, resources=resources))
    if isinstance(result, dg.SkipReason):
        return result.skip_message
    if isinstance(result, dg.SensorResult):
        requests = list(result.run_requests or [])
        if model:
            asked = [request for request in requests if request.job_name == TRAINING[model].name]
            return asked or json.loads(result.cursor or "")[model]
        return requests
    return [result]


def _tick_of_the_daemon(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance
) -> list[dg.RunRequest]:
    """What the sensor asks for when it may wait for it."""
    resources = {"memory": Memory(), "schedule": Schedule(least_frames=1, least_clips=1)}
    context = dg.build_sensor_context(instance, resources=resources)
    return list(sensor.evaluate_tick(context).run_requests or [])


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


def _train(home: Home, model: str, **inputs: str) -> str:
    card = Card(model, {}, 0, manifests.take(home).sha, inputs=inputs)
    made = checkpoints.save(home, card, {"w": torch.zeros(1)})
    checkpoints.set_current(home, made)
    return made.sha


def _learn(home: Home) -> Generation:
    """All that the four trainings leave behind."""
    seen, mel = _train(home, "image_encoder"), _train(home, "mel_autoencoder")
    heard = _train(home, "word_autoencoder", mel_autoencoder=mel)
    joined = _train(home, "associator", image_encoder=seen, word_autoencoder=heard)
    parent = generations.current(home)
    manifest = manifests.of_now(home).sha
    generation = Generation(
        seen, mel, heard, joined, "p", manifest, 0.5, parent.sha if parent else None
    )
    generations.publish(home, generation)
    return generation


def _run(
    instance: dg.DagsterInstance, request: dg.RunRequest, job: str, status: DagsterRunStatus
) -> None:
    tags = {**request.tags, "dagster/run_key": request.run_key or ""}
    if request.partition_key:
        tags["dagster/partition"] = request.partition_key
    instance.add_run(DagsterRun(job_name=job, tags=tags, status=status))


def _watched(home: Home, video: str, generation: Generation) -> None:
    """What watching a video leaves behind."""
    write_bytes(home.predictions(video, generation.sha), b"")
    write_bytes(home.spoken_video(video, generation.sha), b"")


def test_ticks_share_an_instance_that_stays_open(
    home: Home, on_disk: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    """Opened anew for each, it would take most of what a tick takes."""
    monkeypatch.setattr(ticks, "AWAITED_S", 0.0)
    of = {"resources": {"memory": Memory()}, "repository_name": None}
    of |= {"last_tick_completion_time": None, "last_run_key": None, "cursor": None}
    first, second = (dg.SensorEvaluationContext(on_disk.get_ref(), **of) for _ in range(2))
    inbox.evaluate_tick(first)
    video = _remember(home, "cup", "learn", ingested=False)
    asked = inbox.evaluate_tick(second).run_requests or []
    assert [request.partition_key for request in asked] == [video]
    assert first.instance is second.instance is not on_disk
    on_disk.add_run(DagsterRun(job_name="ingest"))
    assert second.instance.get_runs_count() == 1


def test_learning_waits_for_memory_and_for_what_is_being_ingested(
    home: Home, instance: dg.DagsterInstance
):
    assert "holds 0 frames" in _tick(sight, instance)
    _remember(home, "cup", "learn")
    _remember(home, "pen", "learn", ingested=False)
    assert "1 more videos are being taken in" in _tick(sight, instance)


@pytest.mark.parametrize("model", ["image_encoder", "mel_autoencoder"])
def test_what_is_new_is_learned_and_what_is_learned_is_not_learned_again(
    home: Home, instance: dg.DagsterInstance, model: str
):
    _remember(home, "cup", "learn")
    [request] = _tick(model, instance)
    assert manifests.read(home, request.tags["aela/manifest"]) == manifests.of_now(home)
    _learn(home)
    assert "learned from all" in _tick(model, instance)
    _remember(home, "test", "watch")
    assert "learned from all" in _tick(model, instance)
    _remember(home, "pen", "learn")
    [again] = _tick(model, instance)
    assert again.run_key != request.run_key


def test_what_waits_for_a_training_is_asked_for_as_soon_as_that_ends(
    home: Home, on_disk: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    _remember(home, "cup", "learn")
    [request] = _tick(hearing, on_disk)
    _train(home, sight)
    request.tags.update(TRAINING[hearing].tags)
    _run(on_disk, request, TRAINING[hearing].name, STARTED)
    assert "first mel_autoencoder" in _tick(words, on_disk)

    def end() -> None:
        _train(home, hearing)
        on_disk.report_run_failed(records.under_way(on_disk)[0])

    monkeypatch.setattr(ticks, "AWAITED_S", 60.0)
    start, timer = time.monotonic(), threading.Timer(1.0, end)
    timer.start()
    [asked] = _tick_of_the_daemon(learning, on_disk)
    assert asked.job_name == TRAINING[words].name
    assert time.monotonic() - start < 30
    timer.join()


def test_what_is_about_to_be_ingested_is_learned_from_as_soon_as_it_is(
    home: Home, on_disk: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    _remember(home, "pen", "learn", ingested=False)
    assert "0 frames" in _tick(sight, on_disk)

    def ingested() -> None:
        time.sleep(1.0)
        [request] = _tick(inbox, on_disk)
        _run(on_disk, request, "ingest", STARTED)
        time.sleep(2.0)
        _remember(home, "pen", "learn")
        on_disk.report_run_failed(records.under_way(on_disk)[0])

    monkeypatch.setattr(ticks, "AWAITED_S", 60.0)
    start, thread = time.monotonic(), threading.Thread(target=ingested)
    thread.start()
    asked = _tick_of_the_daemon(learning, on_disk)
    assert [request.job_name for request in asked] == ["learn_sight", "learn_hearing"]
    assert time.monotonic() - start < 30
    thread.join()


def test_what_is_dropped_is_taken_in_at_once(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ticks, "AWAITED_S", 60.0)
    inboxes = [home.inbox(role) for role in videos.ROLES]
    timer = threading.Timer(1.0, lambda: write_bytes(inboxes[0] / "cup.mp4", b"cup"))
    start = time.monotonic()
    timer.start()
    [asked] = _tick_of_the_daemon(inbox, instance)
    assert (asked.partition_key or "").startswith("cup-")
    assert time.monotonic() - start < 30
    assert not any(list(folder.iterdir()) for folder in inboxes)


def test_words_and_association_are_asked_for_on_exactly_what_they_build_on(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    assert "first mel_autoencoder" in _tick(words, instance)
    mel = _train(home, "mel_autoencoder")
    [request] = _tick(words, instance)
    assert request.tags["aela/mel_autoencoder"] == mel
    heard = _train(home, "word_autoencoder", mel_autoencoder=mel)
    assert "first image_encoder" in _tick(association, instance)
    shared = manifests.of_now(home)
    _remember(home, "pen", "learn")
    seen = _train(home, "image_encoder")
    [request] = _tick(association, instance)
    assert request.tags["aela/manifest"] == shared.sha
    assert request.tags["aela/image_encoder"] == seen
    assert request.tags["aela/word_autoencoder"] == heard


def test_the_associator_waits_while_more_is_coming_unless_there_is_something_new(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    _learn(home)
    assert "joins all 1 video" in _tick(association, instance)
    _remember(home, "pen", "learn")
    _train(home, "image_encoder")
    assert "until mel_autoencoder have learned" in _tick(association, instance)
    mel = _train(home, "mel_autoencoder")
    assert "until word_autoencoder have learned" in _tick(association, instance)
    _train(home, "word_autoencoder", mel_autoencoder=mel)
    assert isinstance(_tick(association, instance), list)


def test_a_generation_that_was_rolled_back_is_not_made_again(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    first = _learn(home)
    _remember(home, "pen", "learn")
    _learn(home)
    generations.roll_back(home, first)
    assert "rolled back; it waits for something new" in _tick(association, instance)
    _remember(home, "key", "learn")
    seen, mel = _train(home, "image_encoder"), _train(home, "mel_autoencoder")
    heard = _train(home, "word_autoencoder", mel_autoencoder=mel)
    [request] = _tick(association, instance)
    assert request.tags["aela/image_encoder"] == seen
    assert request.tags["aela/word_autoencoder"] == heard


def test_a_failing_training_is_tried_again_later_and_later(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    _remember(home, "cup", "learn")
    [request] = _tick(sight, instance)
    _run(instance, request, "learn_sight", FAILURE)
    assert re.search("failed once and is tried again in (29|30) s", _tick(sight, instance))
    assert isinstance(_tick(hearing, instance), list)
    with monkeypatch.context() as patch:
        patch.setattr(records, "BACKOFF_S", 0.0)
        [again] = _tick(sight, instance)
    _run(instance, again, "learn_sight", FAILURE)
    assert re.search("failed twice and is tried again in (59|60) s", _tick(sight, instance))


def test_a_training_that_always_fails_is_set_aside_until_there_is_something_new(
    home: Home, instance: dg.DagsterInstance, at_once: None
):
    _remember(home, "cup", "learn")
    keys = set()
    for _ in range(MOST_TRIES):
        [request] = _tick(sight, instance)
        keys.add(request.run_key)
        _run(instance, request, "learn_sight", FAILURE)
    assert len(keys) == MOST_TRIES
    assert f"failed {MOST_TRIES} times, last: " in _tick(sight, instance)
    _remember(home, "pen", "learn")
    assert isinstance(_tick(sight, instance), list)


@dg.op
def stopped() -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # as a service manager stops all processes of a service
    time.sleep(10)


@dg.job
def learn_sight() -> None:
    stopped()


def test_to_be_stopped_with_everything_else_is_no_failure(home: Home, instance: dg.DagsterInstance):
    _remember(home, "cup", "learn")
    for _ in range(MOST_TRIES + 1):
        [request] = _tick(sight, instance)
        tags = {**request.tags, "dagster/run_key": request.run_key or ""}
        learn_sight.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
        [run] = instance.get_runs(limit=1)
        assert run.status == FAILURE
        _tick(inbox, instance)  # the first to look after a start
        known = instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": request.run_key or ""}))
        assert not known  # which Dagster would not start again
    assert isinstance(_tick(sight, instance), list)


def test_a_training_is_asked_for_again_though_runs_that_failed_were_deleted(
    home: Home, instance: dg.DagsterInstance, at_once: None
):
    _remember(home, "cup", "learn")
    keys = []
    for _ in range(MOST_TRIES):
        [request] = _tick(sight, instance)
        keys.append(request.run_key)
        _run(instance, request, "learn_sight", FAILURE)
    instance.delete_run(instance.get_runs()[-1].run_id)  # the first
    [again] = _tick(sight, instance)
    assert again.run_key not in keys


@pytest.mark.parametrize("tags", [{TRAINS_TAG: "image_encoder"}, {TRAINS_TAG: "all"}, {}])
def test_no_two_trainings_of_one_model_at_once_but_of_two(
    home: Home, instance: dg.DagsterInstance, tags: dict[str, str]
):
    _remember(home, "cup", "learn")
    by_hand = None if tags else frozenset([dg.AssetKey("image_encoder")])
    run = DagsterRun(job_name="any", tags=tags, status=STARTED, asset_selection=by_hand)
    instance.add_run(run)
    assert "being trained" in _tick(sight, instance)
    heard = _tick(hearing, instance)
    assert ("being trained" in heard) == (tags.get(TRAINS_TAG) == "all")


def test_each_job_says_what_it_trains():
    assert all((job.tags or {})[TRAINS_TAG] == model for model, job in TRAINING.items())


def test_each_generation_watches_everything_once_newest_first_in_one_run(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    watched = [_remember(home, f"test{number}", "watch") for number in range(3)]
    assert "Nothing is learned" in _tick(watching, instance)
    first = _learn(home)
    [request] = _tick(watching, instance)
    assert request.run_config == {"ops": {"look": {"config": {"videos": watched[::-1]}}}}
    assert "predictions of 3 videos" in _tick(reporting, instance)
    _run(instance, request, "watch", STARTED)
    assert "3 are being watched" in _tick(watching, instance)
    for video in watched:
        _watched(home, video, first)
    assert "Every watched video" in _tick(watching, instance)
    assert isinstance(_tick(reporting, instance), list)
    _remember(home, "pen", "learn")
    assert "have learned" in _tick(reporting, instance)
    _learn(home)
    for run in instance.get_runs():
        instance.delete_run(run.run_id)
    [request] = _tick(watching, instance)
    assert json.loads(request.tags["aela/videos"]) == watched[::-1]


def test_a_run_that_watches_is_asked_for_under_a_new_key_though_others_were_deleted(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    generation = _learn(home)
    watched = [_remember(home, f"test{number}", "watch") for number in range(4)]
    keys = []
    for video in watched[:0:-1]:
        [request] = _tick(watching, instance)
        keys.append(request.run_key)
        _run(instance, request, "watch", DagsterRunStatus.SUCCESS)
        _watched(home, video, generation)
    assert len(set(keys)) == 3
    instance.delete_run(instance.get_runs()[-1].run_id)  # As forgetting a video does.
    [request] = _tick(watching, instance)
    assert request.run_key not in keys


def test_what_cannot_be_watched_is_set_aside_and_holds_up_nothing(
    home: Home, instance: dg.DagsterInstance, at_once: None
):
    _remember(home, "cup", "learn")
    generation = _learn(home)
    bad = _remember(home, "bad", "watch")
    for _ in range(MOST_TRIES):
        [request] = _tick(watching, instance)
        assert json.loads(request.tags["aela/videos"]) == [bad]
        _run(instance, request, "watch", FAILURE)
    assert f"1 failed {MOST_TRIES} times; {bad} last: " in _tick(watching, instance)
    good = [_remember(home, f"test{number}", "watch") for number in range(MOST_REQUESTS + 2)]
    [request] = _tick(watching, instance)
    assert json.loads(request.tags["aela/videos"]) == good[:1:-1]
    for video in good:
        _watched(home, video, generation)
    [report] = _tick(reporting, instance)
    _run(instance, report, "evaluate", STARTED)
    assert "is being written" in _tick(reporting, instance)


def test_a_report_that_became_one_of_another_generation_is_asked_for_again(
    home: Home, instance: dg.DagsterInstance, at_once: None
):
    _remember(home, "cup", "learn")
    _learn(home)
    [first] = _tick(reporting, instance)
    _run(instance, first, "evaluate", DagsterRunStatus.SUCCESS)
    [again] = _tick(reporting, instance)
    assert again.run_key != first.run_key


def test_one_that_kills_the_run_takes_no_others_with_it(
    home: Home, instance: dg.DagsterInstance, at_once: None
):
    _remember(home, "cup", "learn")
    generation = _learn(home)
    deadly, *others = [_remember(home, f"test{number}", "watch") for number in range(4)]
    asked = []
    while requests := _tick(watching, instance):
        if isinstance(requests, str):
            break
        [request] = requests
        asked.append(json.loads(request.tags["aela/videos"]))
        killed = deadly in asked[-1]
        _run(instance, request, "watch", FAILURE if killed else DagsterRunStatus.SUCCESS)
        for video in asked[-1]:
            if not killed:
                _watched(home, video, generation)
    assert asked[0] == [*others[::-1], deadly]
    assert sorted(asked[1:]) == sorted([[video] for video in others] + [[deadly]] * 2)


def test_what_was_looked_at_but_not_spoken_over_is_asked_for_again(
    home: Home, instance: dg.DagsterInstance, at_once: None
):
    _remember(home, "cup", "learn")
    generation = _learn(home)
    video = _remember(home, "test", "watch")
    [request] = _tick(watching, instance)
    write_bytes(home.predictions(video, generation.sha), b"")
    _run(instance, request, "watch", FAILURE)
    [again] = _tick(watching, instance)
    assert json.loads(again.tags["aela/videos"]) == [video]
    assert "predictions of 1 videos" in _tick(reporting, instance)
    write_bytes(home.spoken_video(video, generation.sha), b"")
    assert "Every watched video" in _tick(watching, instance)


def test_what_was_recorded_live_has_no_file_to_be_spoken_over(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    generation = _learn(home)
    video = _remember(home, "test", "watch")
    record = home.videos / f"{video}.json"
    write_json(record, {**read_json(record), "file": None})
    write_bytes(home.predictions(video, generation.sha), b"")
    assert "Every watched video" in _tick(watching, instance)


def test_what_leans_on_something_forgotten_is_not_spoken_over_again(
    home: Home, instance: dg.DagsterInstance
):
    cup = _remember(home, "cup", "learn")
    generation = _learn(home)
    video = _remember(home, "test", "watch")
    leaning = pa.table({"clip_video": [cup], "frames": [[{"video": cup, "time_s": 0.0}]]})
    write(leaning, home.predictions(video, generation.sha))
    forget(home, cup)
    assert "Every watched video" in _tick(watching, instance)


def test_a_video_to_watch_is_watched_in_the_run_that_ingests_it(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    _remember(home, "early", "watch", ingested=False)
    assert [request.job_name for request in _tick(inbox, instance)] == ["ingest"]
    _learn(home)
    [request] = _tick(inbox, instance)
    assert request.job_name == "ingest_and_watch"
    _run(instance, request, "ingest_and_watch", STARTED)
    _remember(home, "early", "watch")
    assert "1 are being watched" in _tick(watching, instance)
    _remember(home, "both", "watch", ingested=False)
    _remember(home, "both", "learn", ingested=False)
    [request] = _tick(inbox, instance)
    assert request.job_name == "ingest"


def test_an_ingest_that_failed_is_tried_again_later(home: Home, instance: dg.DagsterInstance):
    _remember(home, "cup", "learn", ingested=False)
    [request] = _tick(inbox, instance)
    _run(instance, request, "ingest", FAILURE)
    assert _tick(inbox, instance) == []


def test_the_report_waits_until_nothing_is_to_be_learned(home: Home, instance: dg.DagsterInstance):
    _remember(home, "cup", "learn")
    generation = _learn(home)
    _remember(home, "pen", "learn", ingested=False)
    assert "until 1 videos are ingested" in _tick(reporting, instance)
    _remember(home, "pen", "learn")
    assert "image_encoder and mel_autoencoder" in _tick(reporting, instance)
    generation = _learn(home)
    [_] = _tick(reporting, instance)
    write_json(home.evaluation(generation.sha) / "metrics.json", {"predicted": []})
    assert "up to date" in _tick(reporting, instance)


def test_the_report_is_written_anew_when_what_it_shows_was_captured_anew(
    home: Home, instance: dg.DagsterInstance
):
    _remember(home, "cup", "learn")
    generation, keys = _learn(home), []
    video = _remember(home, "test", "watch")
    for _ in range(MOST_TRIES + 1):
        _watched(home, video, generation)
        [request] = _tick(reporting, instance)
        keys.append(request.run_key)
        _run(instance, request, "evaluate", DagsterRunStatus.SUCCESS)
        write_json(home.metrics(generation.sha), {"predicted": [video]})
        assert "up to date" in _tick(reporting, instance)
        grey = np.full((2, 8, 8, 3), len(keys), np.uint8)
        anew = [Frame(float(len(keys)), b"j", 8, 8, 1.0, grey)]
        store.remember(home, videos.find(home, video), anew)
        withdraw(home, video)
    assert len(set(keys)) == len(keys)
