"""What is dropped into the inbox is learned from, left alone, or set aside with a reason."""

import errno
import hashlib
import json
import os
import struct
import subprocess
import sys
import time
import wave
from fractions import Fraction
from pathlib import Path

import av
import dagster as dg
import pytest
from dagster import DagsterRun, DagsterRunStatus
from upath import UPath

from aela.memory import store, videos
from aela.memory.forget import forget
from aela.storage import Home
from aela_dagster import plan, records, sensors
from aela_dagster.definitions import defs
from aela_dagster.sensors import MOST_REQUESTS, MOST_SEEN, MOST_TRIES, inbox
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


def _age(path: Path, seconds: float = 60) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


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
    with path.open("ab") as writer:
        _age(path)
        first = _tick(instance, None)
        writer.write(b" and more")
        writer.flush()
        _age(path)
        second = _tick(instance, first.cursor)
    assert not first.run_requests and not second.run_requests and path.exists()
    third = _tick(instance, second.cursor)
    [request] = third.run_requests or []
    assert request.partition_key and request.partition_key.startswith("cup-")
    assert not path.exists()


def test_a_file_copied_just_now_is_taken_in_within_one_tick(
    home: Home, instance: dg.DagsterInstance
):
    path = _drop(home, "cup.mp4", b"whole")
    _age(path, 0)
    [request] = _tick(instance, None).run_requests or []
    assert request.partition_key and request.partition_key.startswith("cup-")
    assert not path.exists()


def test_a_file_from_a_clock_that_is_ahead_is_taken_in(home: Home, instance: dg.DagsterInstance):
    path = _drop(home, "cup.mp4", b"whole")
    _age(path, -5 * 3600)
    assert len(_settle(instance).run_requests or []) == 1
    assert not path.exists()


def test_an_ingest_that_failed_is_tried_again_later_and_in_the_end_set_aside_with_its_reason(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    _waiting(home, 1)
    [video] = videos.known(home)
    tags = {plan.ADDED_TAG: video.added, "dagster/partition": video.video}

    def skipped() -> str:
        tick = _tick(instance, None)
        assert not tick.run_requests and tick.skip_reason
        return tick.skip_reason.skip_message or ""

    for number in range(MOST_TRIES):
        with monkeypatch.context() as patch:
            patch.setattr(records, "BACKOFF_S", 0.0)
            assert len(_keys(_tick(instance, None))) == 1
        instance.add_run(DagsterRun("ingest", tags=tags, status=DagsterRunStatus.FAILURE))
        if number < MOST_TRIES - 1:
            assert "1 failed and are tried again soon" in skipped()
    assert f"1 failed {MOST_TRIES} times; {video.video} last: See run" in skipped()


def _no_room(handle: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_found_no_room_is_tried_until_there_is_some(
    home: Home, instance: dg.DagsterInstance, nursery: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(records, "BACKOFF_S", 0.0)
    film = next((nursery / "train").glob("*.mp4"))
    _drop(home, "cup.mp4", film.read_bytes())
    tick = _settle(instance)
    with monkeypatch.context() as full:
        full.setattr("aela.storage.os.fsync", _no_room)
        for _ in range(MOST_TRIES + 1):
            assert list(_ingest(instance, tick).values()) == [False]
            tick = _tick(instance, None)
    assert list(_ingest(instance, tick).values()) == [True]
    assert len(store.remembered(home)) == 1


def test_what_was_lost_while_it_was_captured_anew_is_captured_again(
    home: Home, instance: dg.DagsterInstance, nursery: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(records, "BACKOFF_S", 0.0)
    _drop(home, "cup.mp4", next((nursery / "train").glob("*.mp4")).read_bytes())
    first = _settle(instance)
    [(video, _)] = _ingest(instance, first).items()
    tags = {plan.ADDED_TAG: videos.find(home, video).added, "dagster/partition": video}
    instance.add_run(DagsterRun("ingest", tags=tags, status=DagsterRunStatus.SUCCESS))
    with monkeypatch.context() as full:
        full.setattr("aela.storage.os.fsync", _no_room)
        job = defs.resolve_job_def("ingest")
        job.execute_in_process(instance=instance, partition_key=video, raise_on_error=False)
    assert not store.remembered(home)
    again = _tick(instance, None)
    keys = [request.run_key for tick in (first, again) for request in tick.run_requests or []]
    assert len(set(keys)) == 2
    assert _ingest(instance, again) == {video: True}
    assert len(store.remembered(home)) == 1


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


LONG = "x" * 251 + ".mp4"
HOSTILE = [
    "a...mp4..",
    "a..b .mp4",
    "two words.mp4",
    "line\nbreak\r.mp4",
    "\x1b[31mred\x1b[0m.mp4",
    "-rf.mp4",
    "$(touch pwned);`id`.mp4",
    "C:\\up\\cup.mp4",
    "s3:bucket.mp4",
    LONG,
    "\N{CHESTNUT}" * 62 + ".mp4",
    os.fsdecode(b"caf\xe9\xff.mp4"),
    "no ending",
    "cup." + "e" * 200,
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_file_may_have_any_name(home: Home, instance: dg.DagsterInstance, name: str):
    _drop(home, name, b"one")
    tick = _settle(instance)
    [request] = tick.run_requests or []
    [video] = videos.known(home)
    assert request.partition_key == video.video
    assert all(sign.isprintable() for sign in video.video + video.names[0])
    media = Path(str(videos.media_of(home, video)))
    assert media.read_bytes() == b"one" and media.parent == Path(str(home.videos / "files"))
    videos.quarantine(home, video, "It is broken.")
    # An empty one of the same name is set aside under that name, or what can be stored of it.
    _drop(home, name, b"")
    assert not _settle(instance).run_requests
    kept = {path.name: path.read_bytes() for path in home.quarantine.iterdir()}
    assert {b"", b"one", b"It is broken.\n"} < {*kept.values()} and len(kept) == 4
    assert all(sign.isprintable() for name in kept for sign in name)
    assert list(Path(str(home.inbox("learn"))).iterdir()) == []
    outside = {path.name for path in Path(str(home.root.parent)).iterdir()}
    assert outside == {Path(str(home.root)).name}


def test_what_is_dropped_again_is_set_aside_once(home: Home, instance: dg.DagsterInstance):
    for _ in range(2):
        _drop(home, "notes.mp4", b"these are my notes")
        assert list(_ingest(instance, _settle(instance)).values()) == [False]
    kept = [path for path in home.quarantine.iterdir() if path.suffix != ".txt"]
    assert [path.read_bytes() for path in kept] == [b"these are my notes"]
    assert len(list(home.quarantine.iterdir())) == 2 and not videos.known(home)


def test_nothing_in_quarantine_is_overwritten(home: Home, instance: dg.DagsterInstance):
    for role in videos.ROLES:
        for _ in range(2):
            _drop(home, "cup.mp4", b"", role)
            _settle(instance)
    for content in (b"one", b"two"):
        _drop(home, "pen.mp4", content)
        kept = videos.set_aside(home, home.inbox("learn") / "pen.mp4", content.decode())
        assert kept.read_bytes() == content
    names = sorted(path.name for path in home.quarantine.iterdir())
    cups = ["cup.mp4", *(f"cup_{number}.mp4" for number in (2, 3, 4))]
    pens = ["pen.mp4", "pen_2.mp4"]
    assert names == sorted(name + end for name in cups + pens for end in ("", ".txt"))
    assert (home.quarantine / "pen_2.mp4.txt").read_text() == "two\n"


def test_the_same_content_under_two_names_is_one_memory(home: Home, instance: dg.DagsterInstance):
    _drop(home, "cup.mp4", b"video")
    first = _settle(instance)
    _drop(home, "Tasse.mp4", b"video", "watch")
    _drop(home, "cup.mp4", b"video")
    second = _settle(instance)
    [video] = videos.known(home)
    assert video.names == ("cup.mp4", "Tasse.mp4") and video.roles == videos.ROLES
    keys = {r.partition_key for tick in (first, second) for r in tick.run_requests or []}
    assert keys == {video.video}


def test_a_link_out_of_the_inbox_is_never_followed(home: Home, instance: dg.DagsterInstance):
    secret = Path(str(home.root.parent)) / "secret.mp4"
    secret.write_bytes(b"private")
    _age(secret)
    learn = Path(str(home.inbox("learn")))
    learn.mkdir(parents=True)
    (learn / "file.mp4").symlink_to(secret)
    (learn / "folder").symlink_to(secret.parent)
    (learn / "gone.mp4").symlink_to("nowhere")
    os.mkfifo(learn / "pipe.mp4")
    tick = _settle(instance)
    assert not tick.run_requests and videos.known(home) == [] and secret.read_bytes() == b"private"
    assert tick.skip_reason
    message = tick.skip_reason.skip_message or ""
    assert all(name in message for name in ("file.mp4", "folder", "gone.mp4", "pipe.mp4"))


def test_a_file_that_grows_while_it_is_read_is_not_taken_in_half(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    path = _drop(home, "cup.mp4", b"half")

    class WrittenToMeanwhile(videos.PatientHash):
        def __call__(self, file: UPath) -> str:
            sha = super().__call__(file)
            with path.open("ab") as writer:
                writer.write(b" and more")
            _age(path)  # Even a writer that sets the time back.
            return sha

    with monkeypatch.context() as patch:
        patch.setattr(sensors, "_hashed", WrittenToMeanwhile())
        tick = _tick(instance, None)
    assert not tick.run_requests and path.exists() and videos.known(home) == []
    tick = _tick(instance, tick.cursor)
    [request] = tick.run_requests or []
    [video] = videos.known(home)
    assert request.partition_key == video.video
    assert videos.media_of(home, video).read_bytes() == b"half and more"


def test_a_file_of_holes_is_left_until_they_are_filled(home: Home, instance: dg.DagsterInstance):
    path = _drop(home, "huge.mp4", b"start")
    os.truncate(path, 10 << 30)
    _age(path)
    _drop(home, "cup.mp4", b"video")
    start = time.monotonic()
    tick = _settle(instance)
    assert [key[:4] for key in _keys(tick)] == ["cup-"] and path.exists()
    assert time.monotonic() - start < 5
    os.truncate(path, 100)
    _age(path)
    tick = _tick(instance, _tick(instance, tick.cursor).cursor)
    assert "huge" in {key.split("-")[0] for key in _keys(tick)}


def test_a_file_that_takes_long_to_read_is_read_over_several_ticks(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    content = os.urandom(5 * videos.BLOCK_BYTES + 3)
    _drop(home, "long.mp4", content)

    class Slow(videos.PatientHash):
        def __call__(self, file: UPath) -> str:
            self.deadline = 0.0  # Time is over as soon as it starts.
            return super().__call__(file)

    monkeypatch.setattr(sensors, "_hashed", Slow())
    cursor = None
    for _ in range(5):
        tick = _tick(instance, cursor)
        cursor = tick.cursor
        assert not tick.run_requests and videos.known(home) == []
    assert len(_keys(_tick(instance, cursor))) == 1
    [video] = videos.known(home)
    assert video.sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_that_cannot_be_taken_in_is_tried_again_later(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    tries = []

    def full(*args: object, **kwargs: object) -> None:
        tries.append(1)
        raise OSError(28, "No space left on device")

    _drop(home, "cup.mp4", b"video")
    with monkeypatch.context() as patch:
        patch.setattr(videos, "take_in", full)
        tick = _settle(instance)
        tick = _tick(instance, _tick(instance, tick.cursor).cursor)
        assert len(tries) == 1 and not tick.run_requests
    monkeypatch.setattr(sensors, "RETRY_S", 0.0)
    later = {name: [*state, 0.0] for name, (*state, _) in json.loads(tick.cursor or "").items()}
    assert len(_keys(_tick(instance, json.dumps(later)))) == 1


def test_thousands_of_files_are_taken_in_oldest_first_in_short_ticks(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sensors, "TAKING_S", 0.2)
    folder = Path(str(home.inbox("learn")))
    folder.mkdir(parents=True)
    for number in range(5000):
        path = folder / f"{(number * 7919) % 5000:04d}.mp4"
        path.write_bytes(f"video {number}".encode())
        _age(path, 60 + 5000 - number)
    cursor, asked = None, []
    for _ in range(5):
        start = time.monotonic()
        tick = _tick(instance, cursor)
        assert time.monotonic() - start < 10
        cursor, keys = tick.cursor, _keys(tick)
        assert len(keys) <= MOST_REQUESTS and len(json.loads(cursor or "")) <= MOST_SEEN
        asked += keys
        for request in tick.run_requests or []:
            started = DagsterRunStatus.STARTED
            instance.add_run(DagsterRun("ingest", tags=dict(request.tags), status=started))
    order = [f"{(number * 7919) % 5000:04d}" for number in range(5000)]
    assert len(asked) > 0
    assert [key.split("-")[0] for key in asked] == order[: len(asked)]
    left = {path.stem for path in folder.iterdir()}
    assert left == set(order[5000 - len(left) :])


def _keys(tick: dg.SensorResult) -> list[str]:
    return [request.partition_key or "" for request in tick.run_requests or []]


def _waiting(home: Home, number: int) -> None:
    for place in range(number):
        file = home.root / "outside.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{number} {place}".encode())
        videos.take_in(home, file, "learn", move=True)


def test_a_tick_asks_as_often_about_many_waiting_videos_as_about_few(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    queries = []
    for name in ("get_runs", "get_runs_count", "get_run_records"):
        whole = getattr(instance, name)

        def counted(*args: object, whole: object = whole, **kwargs: object) -> object:
            queries.append(1)
            return whole(*args, **kwargs)  # type: ignore[operator]

        monkeypatch.setattr(instance, name, counted)
    _waiting(home, 3)
    assert len(_keys(_tick(instance, None))) == 3
    few = len(queries)
    _waiting(home, 150)
    queries.clear()
    assert len(_keys(_tick(instance, None))) == MOST_REQUESTS
    assert 0 < len(queries) == few


def test_what_always_fails_does_not_hold_up_the_rest(home: Home, instance: dg.DagsterInstance):
    _waiting(home, 25)
    failing = videos.known(home)[:22]
    for video in failing:
        tags = {plan.ADDED_TAG: video.added, "dagster/partition": video.video}
        for _ in range(MOST_TRIES):
            instance.add_run(DagsterRun("ingest", tags=tags, status=DagsterRunStatus.FAILURE))
    assert _keys(_tick(instance, None)) == [v.video for v in videos.known(home)[22:]]


def test_no_more_is_asked_for_while_much_is_under_way(home: Home, instance: dg.DagsterInstance):
    _waiting(home, 3)
    for number in range(sensors.MOST_UNDER_WAY - 1):
        tags = {plan.ADDED_TAG: "", "dagster/partition": f"other{number}"}
        instance.add_run(DagsterRun("ingest", tags=tags, status=DagsterRunStatus.STARTED))
    assert len(_keys(_tick(instance, None))) == 1


def test_the_limits_of_a_video_can_be_set(home: Home, instance: dg.DagsterInstance, nursery: Path):
    whole = next((nursery / "train").glob("*.mp4")).read_bytes()
    _drop(home, "cup.mp4", whole)
    [video] = _keys(_settle(instance))
    instance.add_dynamic_partitions("videos", [video])

    def succeeds(**limits: float) -> bool:
        config = {"resources": {"memory": {"config": limits}}}
        job = defs.resolve_job_def("ingest")
        return job.execute_in_process(
            run_config=config, instance=instance, partition_key=video, raise_on_error=False
        ).success

    assert succeeds(max_seconds=3)
    times = store.read_frames(home, video)["time_s"].to_pylist()
    assert times and max(times) < 3
    assert "too long" in store.read_rejections(home, video)["reason"].to_pylist()
    # Captured anew with limits that shut it out, it stays as it is remembered.
    assert not succeeds(max_pixels=10_000)
    assert store.read_frames(home, video)["time_s"].to_pylist() == times
    assert [entry.video for entry in store.remembered(home)] == [video]
    assert videos.media_of(home, videos.find(home, video)).exists()
    forget(home, video)
    assert store.remembered(home) == []


def test_a_video_larger_than_allowed_is_set_aside(
    home: Home, instance: dg.DagsterInstance, nursery: Path
):
    _drop(home, "cup.mp4", next((nursery / "train").glob("*.mp4")).read_bytes())
    [video] = _keys(_settle(instance))
    instance.add_dynamic_partitions("videos", [video])
    config = {"resources": {"memory": {"config": {"max_pixels": 10_000}}}}
    job = defs.resolve_job_def("ingest")
    result = job.execute_in_process(
        run_config=config, instance=instance, partition_key=video, raise_on_error=False
    )
    assert not result.success
    assert "more than the 10000 allowed" in (home.quarantine / f"{video}.mp4.txt").read_text()


def _gif(width: int, height: int) -> bytes:
    """A picture of 40 bytes that says it is that large."""
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    image = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"
    return b"GIF89a" + screen + image


def _lying_mjpeg(folder: Path) -> bytes:
    """A video whose header says 64 x 64, and whose pictures say 65,500 x 65,500."""
    path = folder / "lie.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        for _ in range(10):
            picture = av.VideoFrame(64, 64, "yuvj420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    start_of_frame = b"\xff\xc0\x00\x11\x08"
    honest = start_of_frame + struct.pack(">HH", 64, 64)
    content = path.read_bytes()
    assert honest in content
    return content.replace(honest, start_of_frame + struct.pack(">HH", 65500, 65500))


def _slow_sound(folder: Path) -> bytes:
    """A minute's worth of bytes that says it is 16 days of sound."""
    path = folder / "slow.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 1, 0, "NONE", ""))
        file.writeframes(os.urandom(2 * 1_400_000))
    return path.read_bytes()


def _wide_pixels(folder: Path) -> bytes:
    """A small video whose pixels are said to be 60,000 times as wide as high."""
    path = folder / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 128
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(128, 128, "yuv420p")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    place = content.index(b"pasp") + 4
    return content[:place] + struct.pack(">II", 60_000, 1) + content[place + 8 :]


CAPTURES = """
import resource, sys, time
from aela.capture import CaptureSettings, UnreadableVideo, capture

list(capture(sys.argv[1]))
for path in sys.argv[2:]:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        said = len(list(capture(path, CaptureSettings(max_seconds=600))))
    except UnreadableVideo as error:
        said = error
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    seconds = time.monotonic() - start
    print(f"{path}: {grown:.0f} MB, {seconds:.1f} s: {said}")
    assert grown < 500 and seconds < 20
"""


def test_a_header_that_lies_takes_neither_the_memory_nor_the_day(nursery: Path, tmp_path: Path):
    bombs = {
        "huge.gif": _gif(65535, 65535),
        "wide.gif": _gif(65535, 500),
        "lie.avi": _lying_mjpeg(tmp_path),
        "slow.wav": _slow_sound(tmp_path),
        "wide.mp4": _wide_pixels(tmp_path),
    }
    paths = [tmp_path / f"bomb-{name}" for name in bombs]
    for path, content in zip(paths, bombs.values(), strict=True):
        path.write_bytes(content)
    honest = next((nursery / "train").glob("*.mp4"))
    command = [sys.executable, "-c", CAPTURES, honest, *paths]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("\n") == len(bombs)
