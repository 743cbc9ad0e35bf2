"""A live source becomes videos of a minute each, which the sensors treat like any other."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from typer.testing import CliRunner
from upath import UPath

from aela.capture import Clip, capture
from aela.capture.live import Live, LiveSettings
from aela.memory import forget, store, videos
from aela.memory import manifest as manifests
from aela.memory.store import Remembered
from aela.memory.videos import Role, UnknownVideo
from aela.mimicry import verify
from aela.storage import Home
from aela_dagster import cli, recording
from aela_dagster.definitions import defs
from aela_dagster.recording import clear_away, record
from aela_dagster.sensors import inbox, learning, watching
from resources.memory import Memory
from resources.schedule import Schedule

Life = Any  # the home that the fixture `life` makes
MINUTE_S = 3.0
MINUTES = 3  # of the film


def _live(film: Path) -> Live:
    """The film in a named pipe, which takes no 7 s, followed up to its end."""
    pipe = film.parent / f"camera{time.monotonic_ns()}"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(film.read_bytes()), daemon=True).start()
    live = Live(str(pipe), live=LiveSettings(minute_s=MINUTE_S, first_wait_s=0.1))
    live.tell = lambda sentence: live.stop()
    return live


def _record(
    home: Home, instance: dg.DagsterInstance, film: Path, role: Role = "learn", **options: Any
) -> list[Remembered]:
    return list(record(home, _live(film), role, instance, **options))


def _tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    resources = {"memory": Memory(), "schedule": Schedule(least_frames=1, least_clips=1)}
    result = sensor(dg.build_sensor_context(instance, resources=resources))
    if isinstance(result, dg.SensorResult):
        return list(result.run_requests or [])
    return [result] if isinstance(result, dg.RunRequest) else []


def _problems(home: Home) -> list[str]:
    return [
        problem
        for kind in verify.kinds(home)
        for thing in kind.things
        for problem in kind.problems(thing)
    ]


def _files(home: Home) -> set[str]:
    found = (path for path in Path(str(home.root)).rglob("*") if path.is_file())
    return {path.name for path in found if "dagster" not in path.parts}


def _events(instance: dg.DagsterInstance, asset: str) -> dict[str, dg.AssetMaterialization]:
    """The materialization of each partition."""
    records = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    found = (record.asset_materialization for record in records)
    return {event.partition or "": event for event in found if event}


def test_minutes_are_videos_that_dagster_knows_and_that_are_learned_from(
    home: Home, instance: dg.DagsterInstance, film: Path
):
    entries = _record(home, instance, film)
    keys = [entry.video for entry in entries]
    assert [key.rsplit("-", 1)[1] for key in keys] == ["00000", "00001", "00002"]
    words = [item for item in capture(film) if isinstance(item, Clip)]
    assert sum(entry.clips for entry in entries) == len(words)
    assert store.remembered(home) == entries
    assert sorted(instance.get_dynamic_partitions("videos")) == keys
    for asset in ("frames", "clips"):
        assert sorted(_events(instance, asset)) == keys
        for event in _events(instance, asset).values():  # They could not be forgotten with it.
            kinds = {type(value) for value in event.metadata.values()}
            assert kinds and dg.MarkdownMetadataValue not in kinds
    request = _tick(learning, instance)[-1]
    assert manifests.read(home, request.tags["aela/manifest"]) == manifests.of_now(home)
    assert not _tick(inbox, instance)  # There is nothing left to ingest.
    assert _problems(home) == []


def test_a_recording_has_no_file_and_everything_copes_with_that(
    life: Life, instance: dg.DagsterInstance, film: Path, tmp_path: Path
):
    home = life.home
    [entry, *_] = _record(home, instance, film, "watch")
    record_of = videos.find(home, entry.video)
    assert record_of.file is None and record_of.sha256 == entry.content
    with pytest.raises(UnknownVideo, match="was recorded live"), videos.local_copy(home, record_of):
        pass
    [request] = _tick(watching, instance)
    assert entry.video in json.loads(request.tags["aela/videos"])
    spoken = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        partition_key=entry.video,
        asset_selection=[dg.AssetKey("spoken_video")],
        raise_on_error=False,
    )
    assert spoken.success and not spoken.get_asset_materialization_events()
    run, keep = CliRunner(), ["--home", str(home.root)]
    for command in (
        ["ls"],
        ["show", entry.video, "--to", str(tmp_path / "shown")],
        ["export", entry.video, "--to", str(tmp_path / "files")],
        ["forget", entry.video, "--yes"],
    ):
        result = run.invoke(cli.app, ["memory", *command, *keep], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "files").rglob("*.jpg"))) == entry.frames
    assert forget.finished(home, forget.all_forgotten(home)[entry.video])
    assert entry.video not in {e.video for e in store.remembered(home)}


def test_recording_ends_after_so_many_minutes(home: Home, instance: dg.DagsterInstance, film: Path):
    entries = _record(home, instance, film, minutes=2)
    assert [entry.video[-5:] for entry in entries] == ["00000", "00001"]
    assert not list(home.recordings.iterdir())
    with pytest.raises(ValueError, match="role is one of"):
        _record(home, instance, film, "teach")  # type: ignore[arg-type]


def test_what_dagster_could_not_be_told_of_is_told_later(
    home: Home, instance: dg.DagsterInstance, film: Path, monkeypatch: pytest.MonkeyPatch
):
    def down(event: object) -> None:
        raise ConnectionError("the database is down")

    told: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(instance, "report_runless_asset_event", down)
        entries = _record(home, instance, film, tell=told.append)
    assert len(entries) == MINUTES and "the database is down" in told[0]
    assert not instance.get_dynamic_partitions("videos")
    assert _tick(learning, instance)  # The sensors go by what lies in memory.
    _record(home, instance, film, minutes=1)
    assert len(instance.get_dynamic_partitions("videos")) == MINUTES + 1
    assert len(_events(instance, "clips")) == MINUTES + 1


def test_a_full_disk_loses_no_minute(
    home: Home, instance: dg.DagsterInstance, film: Path, monkeypatch: pytest.MonkeyPatch
):
    remember, failures, told = store.remember, iter([OSError(28, "No space left on device")]), []

    def full(*args: Any) -> Remembered:
        for failure in failures:
            raise failure
        return remember(*args)

    monkeypatch.setattr(store, "remember", full)
    monkeypatch.setattr(recording, "RETRY_S", 0.01)
    live = _live(film)
    minutes = live.minutes
    monkeypatch.setattr(live, "minutes", lambda most: _before_the_stop(live, list(minutes(most))))
    entries = list(record(home, live, "learn", instance, tell=told.append))
    assert len(entries) == MINUTES and "No space left on device" in told[0]


def _before_the_stop(live: Live, minutes: list[Any]) -> Iterator[Any]:
    live.stopping.clear()
    yield from minutes


def test_what_a_killed_recording_left_is_cleared_away_and_nothing_else(
    home: Home, instance: dg.DagsterInstance, film: Path
):
    [entry, *_] = _record(home, instance, film)
    name = entry.video.rsplit("-", 1)[0]
    whole = _files(home)
    killed = ["memory/frames/{}-00009.parquet", "memory/index/{}-00009.json"]
    killed += ["memory/clips/.{}-00009.parquet.part", "videos/.{}-00009.json.part"]
    other = "live-20200101T000000Z"
    for path in [*(k.format(name) for k in killed), *(k.format(other) for k in killed)]:
        (home.root / path).write_bytes(b"half")
    for mark in (name, other):
        UPath(home.recordings / mark).write_bytes(b"")
    with Path(str(home.recordings / other)).open("rb") as going_on:
        fcntl.flock(going_on, fcntl.LOCK_EX)
        clear_away(home)
        left = _files(home) - whole
        assert left and all(other in file for file in left)
    clear_away(home)
    assert _files(home) == whole and _problems(home) == []


RECORD = """
import sys
from aela.capture.live import LiveSettings
from aela_dagster import cli, recording
live = recording.Live
recording.Live = lambda *args, **more: live(*args, live=LiveSettings(minute_s=1.0), **more)
sys.argv = ["aela", "record", sys.argv[1], "--replay", "--home", sys.argv[2]]
cli.main()
"""


def _recorder(film: Path, home: Home) -> subprocess.Popen[str]:
    """`aela record` in a process of its own, its minutes shortened to a second."""
    command = [sys.executable, "-c", RECORD, str(film), str(home.root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _wait_for_minutes(home: Home, count: int) -> list[str]:
    deadline = time.monotonic() + 240
    while len(found := store.remembered(home)) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(found) >= count
    return [entry.video for entry in found]


@pytest.mark.slow
def test_a_killed_recording_loses_at_most_the_open_minute(
    home: Home, instance: dg.DagsterInstance, film: Path
):
    for delay_s in (0.0, 0.3, 0.7):
        known = len(store.remembered(home))
        process = _recorder(film, home)
        _wait_for_minutes(home, known + 1)
        time.sleep(delay_s)
        process.kill()
        process.wait()
    entries = store.remembered(home)
    assert all(store.recomputed(home, entry.video) == entry.content for entry in entries)
    _record(home, instance, film)
    hidden = [path for path in Path(str(home.root)).rglob(".*") if "dagster" not in path.parts]
    assert not hidden and not list(home.recordings.iterdir())
    assert _problems(home) == []
    assert len(instance.get_dynamic_partitions("videos")) == len(entries) + MINUTES
    assert _tick(learning, instance)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_open_minute_is_finished_when_recording_is_stopped(
    home: Home, film: Path, ending: signal.Signals
):
    process = _recorder(film, home)
    deadline = time.monotonic() + 240
    while not home.recordings.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(4)
    process.send_signal(ending)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    keys = [entry.video for entry in store.remembered(home)]
    assert all(key in output for key in keys)
    assert 3 <= len(keys) <= 6  # of 7 s: what was seen and heard by then, and nothing later
    assert _problems(home) == [] and not list(home.recordings.iterdir())
