"""`aela memory`, as a person meets it."""

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import soundfile
from dagster import DagsterRun, DagsterRunStatus
from PIL import Image
from sqlalchemy import Engine, event
from typer.testing import CliRunner, Result

from aela.capture import Rejection
from aela.memory import forget as forgetting
from aela.memory import store, videos
from aela.memory.videos import UnknownVideo
from aela.mimicry import generation as generations
from aela.mimicry.predict import withdraw
from aela.storage import Home
from aela_dagster.cli import app
from aela_dagster.definitions import defs
from aela_dagster.runs import prepare_dagster
from aela_dagster.sensors import learning, reporting
from assets import common
from resources.memory import Memory
from resources.schedule import Schedule
from tests.conftest import remember

Life = Any  # the home that the fixture `life` makes


def aela(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["memory", *arguments], input=answer)


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> Any:
    resources = {"memory": Memory(), "schedule": Schedule(least_frames=1, least_clips=1)}
    return sensor(dg.build_sensor_context(instance, resources=resources))


@pytest.fixture
def dagster(life: Life):
    prepare_dagster(life.home)
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("videos", [life.cup, life.pen, life.watched])
        yield instance


@pytest.fixture(autouse=True)
def _own_dagster_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()


@pytest.mark.parametrize("command", ["ls", "show", "export", "verify", "forget"])
def test_every_command_gives_an_example(command: str):
    assert f"Example: aela memory {command}" in re.sub(r"`", "", aela(command, "--help").output)


def test_ls_counts_everything(life: Life):
    listed = json.loads(aela("ls", "--json").output)
    assert listed["totals"] == {"videos": 3, "frames": 9, "clips": 6, "clip_seconds": 4.2}
    [cup] = [row for row in listed["videos"] if row["video"] == life.cup]
    assert (cup["roles"], cup["frames"], cup["clips"]) == (["learn"], 3, 2)
    assert cup["frame_rejections"] == {"blurry": 1} and cup["clip_seconds"] == 1.4
    table = aela("ls").output
    for shown in (life.cup, life.watched, "1 blurry", "3 videos, 9 frames, 6 clips, 4.2 s"):
        assert shown in table
    aela("forget", life.cup, "--yes")
    assert "1 forgotten" in aela("ls").output
    assert [f["video"] for f in json.loads(aela("ls", "--json").output)["forgotten"]] == [life.cup]


def test_what_was_left_out_of_both_senses_counts_together(home: Home):
    video = videos.find(home, remember(home, "cup", "learn"))
    lost = [Rejection("frame", s, s + 0.1, "dropped", 1.0) for s in (1.0, 2.0)]
    store.remember(home, video, [*lost, Rejection("clip", 1.0, 1.1, "dropped", 1.0)])
    assert "3 dropped" in aela("ls").output


def test_an_empty_memory_is_listed_and_verified(home):
    home.root.mkdir(parents=True)
    assert "0 videos" in aela("ls").output
    assert aela("verify").exit_code == 0


def test_show_writes_pictures_and_sounds(life: Life, tmp_path: Path):
    shown = aela("show", "cu", "--to", str(tmp_path / "shown"))
    assert shown.exit_code == 0
    for said in (life.cup, "3 frames", "2.10 s", "2.80 s", "-20 dB", "blurry", "cup.mp4"):
        assert said in shown.output
    assert Image.open(tmp_path / "shown" / "contact_sheet.jpg").size[0] > 100
    sounds = sorted((tmp_path / "shown").glob("*.wav"))
    samples, rate = soundfile.read(sounds[1], dtype="float32")
    flac = store.read_row(life.home, life.cup, "clip", 1)["flac"]
    assert rate == 44_100 and np.array_equal(samples, store.from_flac(flac))


def test_export_writes_what_is_named_or_all(life: Life, tmp_path: Path):
    assert aela("export", "cup", "pen", "--to", str(tmp_path / "two")).exit_code == 0
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        life.cup,
        life.pen,
        "index.csv",
    }
    assert "15 files" in aela("export", "--to", str(tmp_path / "all")).output


def test_verify_ends_with_1_and_says_what_is_wrong(life: Life):
    assert aela("verify").exit_code == 0
    life.home.clips(life.cup).unlink()
    result = aela("verify")
    assert result.exit_code == 1
    assert f"{life.cup} (rows) cannot be read" in result.output


def test_forget_asks_first(life: Life, dagster: dg.DagsterInstance):
    refused = aela("forget", life.cup, answer="n\n")
    assert refused.exit_code == 1 and life.cup in refused.output
    assert store.content(life.home, life.cup)
    assert aela("forget", life.cup, answer="y\n").exit_code == 0
    assert not store.content(life.home, life.cup)


def test_forget_takes_the_partition_and_the_pictures_in_its_runs(
    life: Life, dagster: dg.DagsterInstance
):
    for video in (life.cup, life.pen):
        tags = {"dagster/partition": video}
        dagster.add_run(DagsterRun(job_name="ingest", tags=tags, status=DagsterRunStatus.SUCCESS))
    said = aela("forget", "cup", life.pen, "--yes").output
    assert f"{life.cup} is forgotten. Marked as having learned from it: checkpoints 4" in said
    assert "lean on it and stay: 2" in said
    assert dagster.get_dynamic_partitions("videos") == [life.watched]
    assert list(dagster.get_runs()) == []


@pytest.fixture
def careless_sqlite() -> Iterator[None]:
    """Deleted rows stay in the file's free pages, as where SQLite was built without
    SQLITE_SECURE_DELETE."""

    def connected(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA secure_delete = OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


@pytest.mark.usefixtures("careless_sqlite")
def test_dagster_keeps_no_picture_of_what_was_forgotten(
    life: Life, dagster: dg.DagsterInstance, tmp_path: Path
):
    """Also not of the video whose event was an asset's latest, which Dagster keeps beside runs, and
    not in the free pages of its files."""

    @dg.asset(partitions_def=common.videos)
    def frames(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        sheet = dg.MetadataValue.md(f"picture of {context.partition_key}")
        return dg.MaterializeResult(metadata={"sheet": sheet, "of": context.partition_key})

    def shown() -> list[str]:
        latest = dagster.get_latest_materialization_event(frames.key)
        event = latest.asset_materialization if latest else None
        return [str(value.value) for value in event.metadata.values()] if event else []

    def lies_in_files(video: str) -> bool:
        files = [file for file in (tmp_path / "dagster").rglob("*") if file.is_file()]
        return any(f"picture of {video}".encode() in file.read_bytes() for file in files)

    for video in (life.cup, life.pen):
        dg.materialize([frames], partition_key=video, instance=dagster)
    assert shown() == [f"picture of {life.pen}", life.pen]
    assert lies_in_files(life.pen)
    aela("forget", life.pen, "--yes")
    assert shown() == [life.cup]
    assert lies_in_files(life.cup) and not lies_in_files(life.pen)
    aela("forget", life.cup, "--yes")
    assert shown() == []
    assert not lies_in_files(life.cup)


def test_a_video_that_a_run_is_busy_with_is_not_forgotten(life: Life, dagster: dg.DagsterInstance):
    tags = {"dagster/partition": life.cup}
    dagster.add_run(DagsterRun(job_name="ingest", tags=tags, status=DagsterRunStatus.STARTED))
    assert "A run is busy" in str(aela("forget", life.cup, "--yes").exception)
    assert store.content(life.home, life.cup)


def test_the_sensors_learn_and_report_anew_after_forgetting(
    life: Life, dagster: dg.DagsterInstance
):
    def reported() -> None:
        folder = life.home.evaluation(generations.required(life.home).sha)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps({"predicted": [life.watched]}))

    reported()
    assert not tick(learning, dagster).run_requests
    assert isinstance(tick(reporting, dagster), dg.SkipReason)
    aela("forget", life.cup, "--yes")
    [first, *_], waits = tick(learning, dagster).run_requests, tick(reporting, dagster)
    assert first.job_name == "learn_sight" and "gone" in first.tags["aela/why"]
    assert isinstance(waits, dg.SkipReason) and "have learned" in str(waits.skip_message)
    life.learn()
    assert isinstance(tick(reporting, dagster), dg.RunRequest)
    reported()
    assert not tick(learning, dagster).run_requests
    life.remember("key", "learn")
    life.learn()
    aela("forget", "key", "--yes")
    [again, *_] = tick(learning, dagster).run_requests  # An older memory is back.
    assert again.tags["aela/manifest"] == first.tags["aela/manifest"]
    assert again.run_key != first.run_key


def test_a_run_that_watched_many_goes_with_one_of_them_and_the_others_stay_watched(
    life: Life, dagster: dg.DagsterInstance
):
    other = life.remember("other", "watch")

    @dg.op
    def look(context: dg.OpExecutionContext) -> None:
        for video in (life.watched, other):
            sheet = dg.MetadataValue.md(f"picture of {video}")
            metadata = {"sheet": sheet, "of": video}
            context.log_event(
                dg.AssetMaterialization("predictions", partition=video, metadata=metadata)
            )

    @dg.job
    def watch() -> None:
        look()

    watch.execute_in_process(instance=dagster)
    aela("forget", life.watched, "--yes")
    assert list(dagster.get_runs()) == []
    key = dg.AssetKey("predictions")
    assert dagster.get_materialized_partitions(key) == {other}
    [record] = dagster.fetch_materializations(key, limit=10).records
    event = record.asset_materialization
    assert event and {name: value.value for name, value in event.metadata.items()} == {"of": other}


def test_a_video_that_is_being_watched_among_others_is_not_forgotten(
    life: Life, dagster: dg.DagsterInstance
):
    tags = {"aela/videos": json.dumps(["other", life.watched])}
    dagster.add_run(DagsterRun(job_name="watch", tags=tags, status=DagsterRunStatus.STARTED))
    assert "A run is busy" in str(aela("forget", life.watched, "--yes").exception)


def test_nor_one_that_is_watched_by_a_run_that_was_started_by_hand(
    life: Life, dagster: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def meanwhile(*arguments: Any) -> None:
        asked.append(str(aela("forget", life.watched, "--yes").exception))

    monkeypatch.setattr("aela_dagster.watch.load_mimic", lambda *_: None)
    monkeypatch.setattr("aela_dagster.watch.predict_video", meanwhile)
    withdraw(life.home, life.watched)
    defs.resolve_job_def("watch").execute_in_process(instance=dagster, raise_on_error=False)
    assert ["A run is busy" in said for said in asked] == [True]


def test_a_trace_shows_that_it_leans_on_something_forgotten(life: Life):
    aela("forget", life.cup, "--yes")
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["trace", f"{life.watched}@0"]).output
    when = forgetting.all_forgotten(life.home)[life.cup].forgotten
    assert shown.count(f"forgotten {when}") == 3  # the clip, the frame, and in the manifest


def test_dropping_it_again_after_forgetting_takes_it_in_afresh(
    life: Life, dagster: dg.DagsterInstance
):
    aela("forget", life.cup, "--yes")
    outside = Path(str(life.home.root / "outside" / "cup.mp4"))
    shutil.copy(outside, outside.with_name("again.mp4"))
    key = CliRunner().invoke(app, ["add", str(outside)]).output.strip()
    assert key != life.cup and key in dagster.get_dynamic_partitions("videos")
    with pytest.raises(UnknownVideo, match="was not ingested yet"):
        CliRunner().invoke(app, ["memory", "show", key], catch_exceptions=False)
    with pytest.raises(UnknownVideo, match=f"{life.cup} was forgotten"):
        CliRunner().invoke(app, ["memory", "show", life.cup], catch_exceptions=False)
