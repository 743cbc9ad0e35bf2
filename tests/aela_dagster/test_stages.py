"""What the commands share."""

import threading
from io import StringIO

import dagster as dg
import pytest
from dagster import DagsterRun, DagsterRunStatus
from rich.console import Console

from aela.mimicry.generation import UnknownGeneration
from aela.storage import Home
from aela_dagster import stages
from aela_dagster.runs import Runner
from resources.compute import TRAINS_TAG


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
