"""The command line, as a person meets it."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from aela.live.door import listening
from aela.memory import store
from aela.storage import Home
from aela_dagster import cli, stages
from aela_dagster.runs import prepare_dagster

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


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The one sentence with which a command ends in vain."""

    def refuse(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["aela", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert ended.value.code == 1
        assert said.startswith("aela:") and said.count("\n") == 1 and "Traceback" not in said
        return said

    return refuse


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["learn", "nowhere.mp4"], "There is no file or folder nowhere.mp4"),
        (["watch", "nowhere.mp4"], "There is no file or folder nowhere.mp4"),
        (["trace", "cup@3"], "names no single prediction"),
        (["score", "nowhere", "nothing.json"], "no predictions"),
        (["demo", "--videos", "here"], "Give both --videos"),
        (["report"], "Nothing was learned yet"),
        (["learn"], "Memory is empty"),
        (["learn", "README.md", "--preset", "quik"], "There is no preset 'quik'"),
        (["watch", "README.md", "--device", "tpu"], "There is no device 'tpu'"),
        (["up", "--preset", "quik"], "There is no preset 'quik'"),
        *(
            (command.split(), "There is no data folder")
            for command in ("status", "memory ls", "memory verify", "memory export --to there")
        ),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(
    home: Home, refused: Callable[..., str], arguments: list[str], says: str
):
    assert says in refused(*arguments)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("run_monitorin: {enabled: true}", "run_monitorin"),
        ("concurrency: {runs: {max_concurrent_runs: six}}", "max_concurrent_runs"),
        ("storage: {postgres: {postgres_url: nowhere}}", "ostgres"),
    ],
)
def test_what_is_wrong_in_the_settings_of_dagster_is_said(
    home: Home, refused: Callable[..., str], line: str, says: str
):
    folder = home.root / "dagster"
    folder.mkdir(parents=True)
    (folder / "dagster.yaml").write_text(line)
    said = refused("status")
    assert f"{folder} cannot be used" in said and says in said


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_a_variable_that_cannot_be_so_is_named(home: Home, monkeypatch: pytest.MonkeyPatch):
    for name, value in (("AELA_MAX_PIXELS", "1000"), ("AELA_LEAST_FRAMES", "few")):
        with monkeypatch.context() as set_wrongly:
            set_wrongly.setenv(name, value)
            with pytest.raises(ValueError, match=f"^{name} is '{value}': .*\\.$"):
                runpy.run_module("aela_dagster.definitions")


@pytest.mark.parametrize("command", ["up", "live"])
def test_what_dagster_would_refuse_is_refused_before_it_starts(
    home: Home, monkeypatch: pytest.MonkeyPatch, command: str
):
    monkeypatch.setenv("AELA_MAX_PIXELS", "5")
    result = _aela(command)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("aela: AELA_MAX_PIXELS is '5'")


def test_the_ui_says_when_its_port_is_taken(home: Home, refused: Callable[..., str]):
    with closing(listening("127.0.0.1", 0)) as taken:
        said = refused("up", "--port", str(taken.getsockname()[1]))
    assert "cannot be listened at" in said


def test_a_folder_of_dagster_that_is_the_homes_own_gets_its_settings(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    own = Path(str(home.root)) / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(own))
    assert prepare_dagster(home) == own
    assert "telemetry" in (own / "dagster.yaml").read_text()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert prepare_dagster(home) == tmp_path and not (tmp_path / "dagster.yaml").exists()


def test_the_version_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["aela", "--version"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert (ended.value.code, capsys.readouterr().out.count(".")) == (0, 2)


def test_watching_before_learning_says_to_learn_first(home: Home, nursery: Path):
    result = _aela("watch", str(next((nursery / "train").glob("*.mp4"))))
    assert result.returncode == 1
    assert "Nothing was learned yet" in result.stderr and "aela learn" in result.stderr


def test_a_file_that_cannot_be_used_is_told_at_the_end_too(
    refused: Callable[..., str],
    home: Home,
    nursery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    learned = []
    monkeypatch.setattr(stages, "learn", lambda console, runner: learned.append(runner.home))
    said = refused("learn", str(broken), str(next((nursery / "train").glob("*.mp4"))))
    assert "1 of 2 files could not be used" in said
    assert learned and len(store.remembered(learned[0])) == 1


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
    _aela("add", str(next((nursery / "train").glob("*.mp4"))))
    said = _aela("status").stdout
    assert "Nothing was learned yet" in said and "Memory holds 0 frames to learn from" in said
    assert "first mel_autoencoder" in said
    assert "1 to ingest" in said and said.startswith(f"Home: {home.root}\n")


def test_doctor_finds_a_folder_that_cannot_be_written(tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the data folder should be")
    for home in (blocked, blocked / "data"):
        result = _aela("doctor", "--home", str(home))
        assert result.returncode == 1 and "cannot be written" in result.stdout
        assert "free space" in result.stdout
    missing = tmp_path / "data"
    assert _aela("doctor", "--home", str(missing)).returncode == 0 and not missing.exists()


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
