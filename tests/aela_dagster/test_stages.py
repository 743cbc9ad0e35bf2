"""What the commands share."""

import threading
from io import StringIO

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from dagster import DagsterRun, DagsterRunStatus
from rich.console import Console

from aela.capture import Clip
from aela.memory import store, videos
from aela.mimicry import predict
from aela.mimicry.generation import UnknownGeneration
from aela.storage import Home
from aela_dagster import stages
from aela_dagster.runs import Runner
from resources.compute import TRAINS_TAG
from tests.conftest import Life


def test_learning_waits_for_trainings_that_are_under_way(
    home: Home, on_disk: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    tags = {TRAINS_TAG: "image_encoder"}
    training = DagsterRun(job_name="learn_sight", tags=tags, status=DagsterRunStatus.STARTED)
    on_disk.add_run(training)
    asked, looked = threading.Event(), threading.Semaphore(0)
    monkeypatch.setattr(Runner, "run", lambda self, job: asked.set())
    monkeypatch.setattr(stages.time, "sleep", lambda seconds: looked.release())

    def learn() -> None:
        with pytest.raises(UnknownGeneration):  # the run that is asked for here makes none
            stages.learn(Console(file=StringIO()), Runner(home, on_disk))

    thread = threading.Thread(target=learn)
    thread.start()
    for _ in range(3):
        assert looked.acquire(timeout=10)
    assert not asked.is_set()
    on_disk.report_run_failed(training)
    thread.join(10)
    assert asked.is_set()


def test_two_words_of_one_video_are_two_answers(life: Life, on_disk: dg.DagsterInstance):
    time_s, random = np.arange(44_100) / 44_100, np.random.default_rng(0)
    tone, hiss = np.sin(2 * np.pi * 300 * time_s) / 2, random.normal(size=44_100) / 5
    sounds = {1.0: tone, 5.0: hiss, 9.0: tone}
    clips = [Clip(s, s + 0.7, w.astype(np.float32), 0.1, -20, 30) for s, w in sounds.items()]
    store.remember(life.home, videos.find(life.home, life.cup), clips)
    table = predict.read_predictions(life.home, life.watched, life.generation.sha)
    [row] = table.slice(0, 1).to_pylist()
    said_s = (1.0, 9.0, 5.0, 5.0)
    rows = [{**row, "clip_video": life.cup, "clip_start_s": start_s} for start_s in said_s]
    predict.write(
        pa.Table.from_pylist(rows, schema=predict.PREDICTIONS),
        life.home.predictions(life.watched, life.generation.sha),
    )
    shown = stages.said(Runner(life.home, on_disk), life.watched, life.generation.sha)
    assert list(shown.columns[2].cells) == ["2", "2"]
    said = [str(word).rpartition(" at ")[2] for word in shown.columns[3].cells]
    assert said == ["1.0 s", "5.0 s"]
