"""The command line, as a person meets it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aela.memory import store
from aela.storage import Home
from aela_dagster import stages

COMMANDS = ("demo", "learn", "watch", "add", "up", "status", "trace", "report", "score", "doctor")


def _aela(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aela_dagster.cli", *arguments], capture_output=True, text=True
    )


def test_help_names_every_command_and_each_gives_an_example(capsys: pytest.CaptureFixture[str]):
    from typer.testing import CliRunner

    from aela_dagster.cli import app

    runner = CliRunner()
    overview = runner.invoke(app, ["--help"]).output
    for command in COMMANDS:
        assert command in overview
        assert "Example: " in runner.invoke(app, [command, "--help"]).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["learn", "nowhere.mp4"], "There is no file or folder nowhere.mp4"),
        (["watch", "nowhere.mp4"], "There is no file or folder nowhere.mp4"),
        (["trace", "cup@3"], "names no single prediction"),
        (["score", "nowhere", "nothing.json"], "no predictions"),
        (["demo", "--videos", "here"], "Give both --videos"),
        (["report"], "Nothing was learned yet"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(home: Home, arguments: list[str], says: str):
    result = _aela(*arguments)
    assert result.returncode == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr and result.stderr.count("\n") <= 2


def test_watching_before_learning_says_to_learn_first(home: Home, nursery: Path):
    result = _aela("watch", str(next((nursery / "train").glob("*.mp4"))))
    assert result.returncode == 1
    assert "Nothing was learned yet" in result.stderr and "aela learn" in result.stderr


def test_add_prints_the_partition_that_dagster_then_knows(home: Home, nursery: Path):
    import dagster as dg

    video = next((nursery / "train").glob("*.mp4"))
    key = _aela("add", str(video)).stdout.strip()
    assert key.startswith(video.stem + "-")
    with dg.DagsterInstance.from_config(str(home.root / "dagster")) as instance:
        assert instance.get_dynamic_partitions("videos") == [key]


def test_labels_beside_the_videos_are_no_video(tmp_path: Path):
    for name in ("cup.mp4", "labels.json"):
        (tmp_path / name).write_text("{}")
    assert stages.files([tmp_path]) == [tmp_path / "cup.mp4"]


def test_status_says_what_each_model_waits_for(home: Home, nursery: Path):
    said = _aela("status").stdout
    assert "Nothing was learned yet" in said and "Memory holds 0 frames" in said
    assert "first mel_autoencoder" in said
    _aela("add", str(next((nursery / "train").glob("*.mp4"))))
    said = _aela("status").stdout
    assert "1 to ingest" in said


def test_doctor_finds_a_folder_that_cannot_be_written(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the data folder should be")
    result = _aela("doctor", "--home", str(blocked))
    assert result.returncode == 1 and "cannot be written" in result.stdout
    assert _aela("doctor", "--home", str(tmp_path / "data")).returncode == 0


def test_assets_materialize_from_a_shell_as_in_ci(home: Home, nursery: Path):
    key = _aela("add", str(next((nursery / "train").glob("*.mp4")))).stdout.strip()
    materialize = ["dagster", "asset", "materialize", "-m", "aela_dagster.definitions"]
    environment = {**os.environ, "DAGSTER_HOME": str(home.root / "dagster")}
    subprocess.run(
        [sys.executable, "-m", *materialize, "--select", "frames,clips", "--partition", key],
        env=environment,
        capture_output=True,
        check=True,
    )
    [entry] = store.remembered(home)
    assert entry.video == key and entry.frames > 0 and entry.clips > 0
