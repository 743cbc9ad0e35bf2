"""What is dropped into the inbox is learned from, left alone, or set aside with a reason."""

import os
import time
from pathlib import Path

import av
import dagster as dg
import pytest
from dagster import DagsterRun, DagsterRunStatus

from aela.memory import store
from aela.storage import Home
from aela_dagster.definitions import defs
from aela_dagster.sensors import MOST_REQUESTS, inbox
from resources.memory import Memory


def _tick(instance: dg.DagsterInstance, cursor: str | None) -> dg.SensorResult:
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"memory": Memory()}
    )
    result = inbox(context)
    assert isinstance(result, dg.SensorResult)
    return result


def _drop(home: Home, name: str, content: bytes, role: str = "learn") -> Path:
    path = Path(str(home.inbox(role))) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    _age(path)
    return path


def _age(path: Path) -> None:
    os.utime(path, (time.time() - 60, time.time() - 60))


def _settle(instance: dg.DagsterInstance) -> dg.SensorResult:
    """The tick after a tick: what was dropped is known to have stopped growing."""
    return _tick(instance, _tick(instance, None).cursor)


def _ingest(instance: dg.DagsterInstance, tick: dg.SensorResult) -> dict[str, bool]:
    """Run what the tick asks for; success by video."""
    for addition in tick.dynamic_partitions_requests or []:
        instance.add_dynamic_partitions("videos", list(addition.partition_keys))
    return {
        request.partition_key or "": defs.resolve_job_def("ingest")
        .execute_in_process(
            instance=instance, partition_key=request.partition_key, raise_on_error=False
        )
        .success
        for request in tick.run_requests or []
    }


def test_a_growing_file_is_left_until_it_is_whole(home: Home, instance: dg.DagsterInstance):
    path = _drop(home, "cup.mp4", b"half")
    first = _tick(instance, None)
    path.write_bytes(b"half and more")
    _age(path)
    second = _tick(instance, first.cursor)
    assert not first.run_requests and not second.run_requests and path.exists()
    third = _tick(instance, second.cursor)
    [request] = third.run_requests or []
    assert request.partition_key and request.partition_key.startswith("cup-")
    assert not path.exists()


def test_what_is_no_video_of_ours_is_left_alone(home: Home, instance: dg.DagsterInstance):
    outside = home.root.parent / "outside.mp4"
    Path(str(outside)).write_bytes(b"private")
    kept = [_drop(home, ".hidden.mp4", b"x"), _drop(home, "cup.mp4.part", b"x")]
    (Path(str(home.inbox("learn"))) / "folder").mkdir()
    link = Path(str(home.inbox("learn"))) / "link.mp4"
    link.symlink_to(str(outside))
    tick = _settle(instance)
    assert not tick.run_requests
    assert all(path.exists() for path in [*kept, link])
    assert not home.quarantine.exists()


def test_an_empty_file_is_set_aside_at_once(home: Home, instance: dg.DagsterInstance):
    _drop(home, "nothing.mp4", b"")
    assert not _settle(instance).run_requests
    assert "empty" in (home.quarantine / "nothing.mp4.txt").read_text()


@pytest.mark.parametrize(
    "name", ["notes.mp4", "cut.mp4", "zeros.mkv", "picture.png.mp4", "strange name\n;rm -rf.avi"]
)
def test_a_broken_file_is_set_aside_with_one_sentence(
    home: Home, instance: dg.DagsterInstance, nursery: Path, name: str
):
    whole = next((nursery / "train").glob("*.mp4")).read_bytes()
    content = {
        "notes.mp4": b"these are my notes\n" * 50,
        "cut.mp4": whole[:3000],
        "zeros.mkv": bytes(100_000),
        "picture.png.mp4": b"\x89PNG\r\n\x1a\n" + bytes(2000),
    }.get(name, whole[5000:9000])
    _drop(home, name, content)
    tick = _settle(instance)
    assert list(_ingest(instance, tick).values()) == [False]
    [reason] = [p for p in home.quarantine.iterdir() if p.suffix == ".txt"]
    text = reason.read_text()
    assert text.count("\n") == 1 and text.rstrip().endswith(".") and "Traceback" not in text
    assert (home.quarantine / reason.name.removesuffix(".txt")).read_bytes() == content
    assert store.remembered(home) == []
    run = instance.get_runs(limit=1)[0]
    [failure] = [
        record.dagster_event.step_failure_data.user_failure_data
        for record in instance.all_logs(run.run_id)
        if record.dagster_event and record.dagster_event.is_step_failure
    ]
    assert failure and text.strip() in (failure.description or "")
    # Nothing stops: the next video is taken in as if nothing had been.
    _drop(home, "good.mp4", whole)
    assert list(_ingest(instance, _settle(instance)).values()) == [True]
    assert [entry.frames > 0 for entry in store.remembered(home)] == [True]


def test_a_file_dropped_again_is_asked_for_again_only_if_it_failed(
    home: Home, instance: dg.DagsterInstance, nursery: Path
):
    whole = next((nursery / "train").glob("*.mp4")).read_bytes()
    _drop(home, "good.mp4", whole)
    first = _settle(instance)
    assert all(_ingest(instance, first).values())
    _drop(home, "copy.mp4", whole)
    assert not _settle(instance).run_requests
    _drop(home, "bad.mp4", b"no video")
    one = _settle(instance)
    _ingest(instance, one)
    _drop(home, "bad.mp4", b"no video")
    two = _settle(instance)
    keys = [tick.run_requests[0].run_key for tick in (one, two) if tick.run_requests]
    assert len(keys) == 2 and keys[0] != keys[1]


def test_an_ingest_that_was_interrupted_is_asked_for_again(
    home: Home, instance: dg.DagsterInstance
):
    _drop(home, "cup.mp4", b"video")
    first = _settle(instance)
    again = _tick(instance, None)
    assert [r.partition_key for r in again.run_requests or []] == [
        r.partition_key for r in first.run_requests or []
    ]


def test_many_files_at_once_are_asked_for_in_bounded_ticks(
    home: Home, instance: dg.DagsterInstance
):
    for number in range(MOST_REQUESTS + 5):
        _drop(home, f"{number:03d}.mp4", f"video {number}".encode())
    tick = _settle(instance)
    asked = [request.partition_key or "" for request in tick.run_requests or []]
    assert len(asked) == MOST_REQUESTS
    for request in tick.run_requests or []:
        started = DagsterRunStatus.STARTED
        instance.add_run(DagsterRun("ingest", tags=dict(request.tags), status=started))
    rest = [r.partition_key or "" for r in _tick(instance, tick.cursor).run_requests or []]
    assert [key[:3] for key in asked + rest] == [f"{n:03d}" for n in range(MOST_REQUESTS + 5)]


@pytest.mark.parametrize(("kind", "name"), [("video", "mute.mp4"), ("audio", "voice.mp4")])
def test_a_video_of_one_sense_is_remembered_by_that_sense(
    home: Home, instance: dg.DagsterInstance, nursery: Path, tmp_path: Path, kind: str, name: str
):
    whole = next((nursery / "train").glob("*.mp4"))
    with av.open(str(whole)) as source, av.open(str(tmp_path / name), "w") as target:
        stream = next(s for s in source.streams if s.type == kind)
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    _drop(home, name, (tmp_path / name).read_bytes())
    assert list(_ingest(instance, _settle(instance)).values()) == [True]
    [entry] = store.remembered(home)
    assert (entry.frames > 0, entry.clips > 0) == (kind == "video", kind == "audio")
