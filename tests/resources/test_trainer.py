"""Trainers in processes of their own, killed or out of memory: one failed step, and no more."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aela.learning import checkpoints
from aela.learning.bookmark import SAVE_EVERY
from aela.memory import manifest as manifests
from aela.mimicry import generation as generations
from aela.presets import preset
from aela.storage import Home
from aela_dagster.definitions import defs
from resources.trainer import parent_of

Life = Any  # the home that the fixture `life` makes

MODEL = "image_encoder"
EFFORT = 0.05
STEPS = 18


def train(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = defs.resolve_implicit_global_asset_job_def()
    compute = {"preset": "quick", "effort": EFFORT, "device": "cpu", "resume": False}
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(MODEL)],
        raise_on_error=False,
        run_config={"resources": {"compute": {"config": compute}}},
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the one step that failed says."""
    [event] = [event for event in result.all_events if event.is_step_failure]
    found = event.step_failure_data.user_failure_data
    assert found and found.description, event.step_failure_data.error
    return found.description


def run_as(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Start trainers by a shell script in place of the interpreter, which is `$PYTHON` in it."""
    program = folder / "python"
    program.write_text("#!/bin/sh\n" + script.replace("$PYTHON", sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def went_on_at(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> list[int]:
    """The steps at which a run's event log says that its training goes on."""
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    return [int(line.rstrip(".").split()[-1]) for line in lines if "goes on at step" in line]


def test_a_killed_trainer_is_one_failed_step_and_goes_on_when_tried_again(
    life: Life, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    home: Home = life.home
    for number in range(4):
        life.remember(f"thing{number}", "learn")
    manifests.set_current(home, manifests.take(home))
    monkeypatch.setenv(SAVE_EVERY, "0")  # after every step
    pid = tmp_path / "pid"
    run_as(monkeypatch, tmp_path, f'echo $$ > {pid}.new; mv {pid}.new {pid}; exec $PYTHON "$@"\n')
    folder, written = Path(str(home.unfinished(MODEL))), set[int]()

    def kill() -> None:
        """End the trainer after it wrote its second bookmark."""
        until = time.monotonic() + 120
        while len(written) < 2 and time.monotonic() < until:
            written.update(path.stat().st_mtime_ns for path in folder.glob("[!.]*"))
            time.sleep(0.01)
        os.kill(int(pid.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    killed = train(instance)
    killer.join()
    assert failure(killed).startswith(f"The {MODEL} trainer was ended from outside")
    assert len(written) == 2 and went_on_at(instance, killed) == []
    monkeypatch.delenv(SAVE_EVERY)
    again = train(instance)
    assert again.asset_materializations_for_node(MODEL)
    [step] = went_on_at(instance, again)
    assert 2 <= step < STEPS
    card = checkpoints.required(home, MODEL).card
    assert (card.metrics["steps"], card.curve[0]["step"]) == (STEPS, 1)
    assert list(folder.glob("*")) == []


def test_it_goes_on_from_what_speaks_unless_a_longer_training_is_asked_for(life: Life):
    home: Home = life.home
    settings = preset("quick", 0.5).image_encoder
    spoke = checkpoints.required(home, MODEL).card
    trained = replace(spoke, settings=checkpoints.settings_dict(replace(settings, centred=True)))
    parent = checkpoints.save(home, trained, {})
    generation = generations.current(home)
    assert generation is not None
    generations.publish(home, replace(generation, image_encoder=parent.sha))
    assert parent_of(home, MODEL, settings) == parent
    assert parent_of(home, MODEL, preset("quick", 0.1).image_encoder) == parent
    assert parent_of(home, MODEL, preset("quick", 1.0).image_encoder) is None
    assert parent_of(home, MODEL, replace(settings, input_px=32)) is None


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("bytearray(1 << 60)", f"The {MODEL} trainer ran out of memory on cpu; free memory"),
        ("torch.empty(1 << 60)", f"The {MODEL} trainer ran out of memory on cpu; free memory"),
        ("stop(DiskFull('The disk is full.'))", "The disk is full."),
        ("stop(KeyError('odd'))", f"The {MODEL} trainer stopped with an error (KeyError: 'odd')"),
    ],
)
def test_what_stops_a_trainer_is_said_in_one_sentence(
    life: Life,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: str,
    says: str,
):
    faulty = tmp_path / "faulty.py"
    faulty.write_text(
        "import sys, types\n"
        "import torch\n"
        "from aela.storage import DiskFull\n"
        "from resources.trainer import main\n"
        "def stop(error):\n"
        "    raise error\n"
        f"trainers = types.SimpleNamespace(train=lambda *_, **__: {fault})\n"
        "sys.modules['aela.trainers'] = trainers\n"
        "main()\n"
    )
    run_as(monkeypatch, tmp_path, f"exec $PYTHON {faulty}\n")
    assert failure(train(instance)).startswith(says)


def test_a_wrong_setting_is_what_a_failed_training_says(
    life: Life, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    for number in range(4):
        life.remember(f"thing{number}", "learn")
    manifests.set_current(life.home, manifests.take(life.home))
    monkeypatch.setenv("AELA_CACHE_GB", "0.0000001")
    assert failure(train(instance)).endswith("set AELA_CACHE_GB higher.")
