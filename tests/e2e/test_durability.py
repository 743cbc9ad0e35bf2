"""Ingests that are killed, run out of disk, or run twice at once: nothing is lost or doubled.

Ingests to be killed run in a process of their own, this file run as a script: it imports everything
once and forks for each life of an ingest.
"""

import faulthandler
import itertools
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import dagster as dg
import numpy as np
import pytest
import torch
from dagster._core.storage.tags import RUN_KEY_TAG
from upath import UPath

from aela.capture import capture
from aela.learning import checkpoints
from aela.learning.checkpoints import Card
from aela.memory import store, videos
from aela.mimicry import verify
from aela.storage import DiskFull, Home
from aela_dagster import records, sensors
from aela_dagster.definitions import defs
from aela_dagster.runs import DAGSTER_YAML
from aela_dagster.sensors import inbox
from assets import senses
from resources.memory import Memory

KILLS = 100
PHASES = {  # what an ingest was at: the first function found on its stack, from the inside
    "sha256_file|__call__|_hash": "hash",
    "_bring": "move",
    "_temporary|atomic|write_json|write_bytes": "open, sync or rename",
    "_grown|_frame_row|_clip_row|to_flac|_small_jpeg|write_table|close": "rows",
    "take|perceive|push|_packets|opened|capture": "capture",
    "take_in|set_aside|find|known": "record",
    "remember": "index",
    "_mostly_sharp|_clip_lengths": "checks",
}


def film(path: Path, number: int) -> Path:
    """Two seconds of a square that wanders over a pattern, and a vowel that glides."""
    y, x = np.mgrid[:96, :128]
    rate_hz = 44_100
    t = np.arange(2 * rate_hz) / rate_hz
    voiced = np.sin(np.pi * np.clip((t - 0.5) / 0.7, 0, 1)) ** 0.5
    phase = 2 * np.pi * np.cumsum(110 + 10 * number + 40 * t) / rate_hz
    hums = (np.sin(k * phase) / (1 + ((k * 120 - 400 - 900 * t) / 200) ** 2) for k in range(1, 30))
    noise = np.random.default_rng(number).normal(0, 0.001, len(t))
    samples = (32767 * (0.2 * voiced * sum(hums) + noise).clip(-1, 1)).astype(np.int16)
    with av.open(str(path), "w") as container:
        pictures: Any = container.add_stream("libx264", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 128, 96, "yuv420p"
        sound: Any = container.add_stream("aac", rate=rate_hz, layout="mono")
        for step in range(20):
            canvas = np.stack([(x // 8 + y // 8) % 2 * 99, x + y, 2 * y + number], axis=2)
            canvas[30:60, 3 * step : 3 * step + 30] = 255 - canvas[30:60, 3 * step : 3 * step + 30]
            frame = av.VideoFrame.from_ndarray(canvas.astype(np.uint8), "rgb24")
            container.mux(pictures.encode(frame))
        heard = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        heard.sample_rate, heard.time_base, heard.pts = rate_hz, Fraction(1, rate_hz), 0
        container.mux([*pictures.encode(None), *sound.encode(heard), *sound.encode(None)])
    return path


def drop(home: Home, media: list[Path]) -> None:
    """Put videos into the inbox as if they had lain there for a while."""
    folder = Path(str(home.inbox("learn")))
    folder.mkdir(parents=True, exist_ok=True)
    for file in media:
        shutil.copy(file, folder)
        os.utime(folder / file.name, (time.time() - 60, time.time() - 60))


def live(home: Home, instance: dg.DagsterInstance) -> None:
    """The life of an ingest: what the sensor and its runs do until nothing is left to do."""
    memory, cursor = Memory(location=str(home.root)), None
    for tick in itertools.count():
        context = dg.build_sensor_context(instance, cursor, resources={"memory": memory})
        result = inbox(context)
        assert isinstance(result, dg.SensorResult)
        cursor = result.cursor
        for request in result.run_requests or []:
            of = dg.build_asset_context(
                resources={"memory": memory}, partition_key=request.partition_key, instance=instance
            )
            made: Any = senses.senses(of)
            assert len(list(made)) == 4
        if tick and not result.run_requests:
            return


# The process that forks


def born(life: Callable[[int], None]) -> tuple[int, int]:
    """Fork a life; it gets the end of a pipe to write to. Returns its process and the other end."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.close(reader)
            life(writer)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    os.close(writer)
    return child, reader


def told(reader: int, until: bytes | None = None) -> str:
    """What comes out of a pipe up to some words, or to its end."""
    text = b""
    while (until is None or until not in text) and (piece := os.read(reader, 1 << 16)):
        text += piece
    os.close(reader)
    return text.decode()


def killed_after(home: Home, instance: dg.DagsterInstance, seconds: float) -> str | None:
    """Kill a life after so many seconds. Returns what it was at; None when it had ended before."""

    def life(writer: int) -> None:
        faulthandler.dump_traceback_later(seconds, file=writer)
        live(home, instance)
        faulthandler.cancel_dump_traceback_later()

    child, reader = born(life)
    stack = told(reader, b" in live")
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, stack
    if not os.WIFSIGNALED(status):
        return None
    for function in re.findall(r" in (\w+)$", stack, flags=re.MULTILINE):
        for functions, phase in PHASES.items():
            if re.fullmatch(functions, function):
                return phase
    return "between"


def die_before(where: str, change: int, teller: int) -> None:
    """Have this process killed before it changes something at `where` for the n-th time."""
    numbers = itertools.count()

    def watch(event: str, args: tuple) -> None:
        if event not in ("open", "os.rename", "os.remove", "os.mkdir"):
            return
        written = event != "open" or bool(args[2] & (os.O_WRONLY | os.O_RDWR))
        if written and str(args[0]).startswith(where) and next(numbers) == change:
            os.write(teller, f"{event} {args[0]}".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def killed_before(home: Home, instance: dg.DagsterInstance, change: int) -> str:
    """Kill a life before it changes anything on disk for the n-th time. Returns what it changed."""

    def life(writer: int) -> None:
        die_before(str(home.root), change, writer)
        live(home, instance)

    child, reader = born(life)
    what = told(reader)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) == bool(what)
    return what


def finish(home: Home, instance: dg.DagsterInstance) -> float:
    """Live undisturbed. Returns how many seconds that took."""
    start = time.monotonic()
    child, reader = born(lambda _: live(home, instance))
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert status == 0
    return time.monotonic() - start


def kill_many(folder: Path, media: list[Path]) -> dict:
    """Fill `folder` with homes in which ingests were killed, then finished; tell what they did."""
    import scipy.signal  # noqa: F401  (loaded once here, not in each life)

    # Most of the time goes into pictures for the UI, which write nothing.
    senses._frame_metadata = senses._clip_metadata = lambda *_: {}

    instance, chance = dg.DagsterInstance.ephemeral(), random.Random(0)
    whole = Home.at(folder / "undisturbed")
    drop(whole, media)
    seconds = finish(whole, instance)
    phases: Counter[str] = Counter()
    for number in itertools.count():
        if phases.total() >= KILLS:
            break
        home = Home.at(folder / f"by-the-clock-{number}")
        drop(home, media)
        while phase := killed_after(home, instance, chance.uniform(0, seconds)):
            phases[phase] += 1
        finish(home, instance)
    changes = []
    for number in itertools.count():
        home = Home.at(folder / f"by-the-change-{number}")
        drop(home, media[:1])
        what = killed_before(home, instance, number)
        finish(home, instance)
        if not what:
            break
        changes.append(what.replace(str(home.root), ""))
    return {"seconds": seconds, "phases": phases, "changes": changes}


# The tests


def contents(home: Home) -> dict[str, str | None]:
    """What memory holds, as `{hash of a video's file: hash of its rows}`."""
    known = videos.known(home)
    assert len({video.sha256 for video in known}) == len(known)
    return {video.sha256: store.content(home, video.video) for video in known}


def unsound(home: Home) -> list[str]:
    """What is left over in a home or wrong with it."""
    root = Path(str(home.root))
    found = [str(path) for path in root.rglob(".*")]
    found += [str(path) for path in (root / "inbox").rglob("*") if path.is_file()]
    found += [str(path) for path in (root / "quarantine").rglob("*")]
    for kind in verify.kinds(home):
        found += [problem for thing in kind.things for problem in kind.problems(thing)]
    return found


@pytest.mark.slow
def test_killed_ingests_are_finished_by_the_next(tmp_path: Path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    media = [film(folder / f"thing {number}.mp4", number) for number in range(3)]
    run = subprocess.run([sys.executable, __file__, tmp_path, *media], stdout=subprocess.PIPE)
    assert run.returncode == 0, run.stdout.decode()
    told = json.loads(run.stdout.splitlines()[-1])
    print(json.dumps(told, indent=1))
    whole = contents(Home.at(tmp_path / "undisturbed"))
    assert len(whole) == len(media) and None not in whole.values()
    homes = [Home.at(path) for path in sorted(tmp_path.iterdir())]
    assert {str(home.root): unsound(home) for home in homes if unsound(home)} == {}
    first = contents(Home.at(tmp_path / "by-the-change-0"))
    for home in homes:
        assert contents(home) == (first if "by-the-change" in str(home.root) else whole)
    assert first.items() <= whole.items()
    assert sum(told["phases"].values()) >= KILLS
    assert {"capture", "rows"} <= told["phases"].keys()
    assert len(told["changes"]) >= 10  # of each file that an ingest makes, and of the inbox


def ingest(home: Home, instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    """Run what a tick has asked for, as Dagster does. Returns whether it succeeded."""
    tags = {**request.tags, RUN_KEY_TAG: request.run_key or ""}
    job, memory = defs.resolve_job_def("ingest"), {"location": str(home.root)}
    config = {"resources": {"memory": {"config": memory}}}
    result = job.execute_in_process(
        config, instance, request.partition_key, raise_on_error=False, tags=tags
    )
    return result.success


def ask(home: Home, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """What the sensor asks for once the dropped files have settled."""
    cursor, asked = None, []
    for _ in range(2):
        resources = {"memory": Memory(location=str(home.root))}
        result = inbox(dg.build_sensor_context(instance, cursor, resources=resources))
        assert isinstance(result, dg.SensorResult)
        cursor, asked = result.cursor, list(result.run_requests or [])
        for request in asked:
            instance.add_dynamic_partitions("videos", [request.partition_key or ""])
    return asked


@pytest.mark.slow
def test_a_run_that_was_killed_with_everything_around_it_is_asked_for_again(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(DAGSTER_YAML)
    with dg.DagsterInstance.get() as instance:
        drop(home, [film(tmp_path / "thing.mp4", 0)])
        [first] = ask(home, instance)
        told = json.dumps([first.run_key, first.partition_key, dict(first.tags)])
        run = subprocess.run([sys.executable, __file__, str(home.root), told])
        assert run.returncode == -signal.SIGKILL
        [killed] = instance.get_runs()
        assert killed.status == dg.DagsterRunStatus.STARTED
        assert Path(str(home.frames(first.partition_key or ""))).exists()
        assert store.remembered(home) == []
        # No failure of the video: the same is asked for again, and Dagster does not know it yet.
        [again] = ask(home, instance)
        assert (again.run_key, again.tags) == (first.run_key, first.tags)
        [killed] = instance.get_runs()
        assert killed.status == dg.DagsterRunStatus.FAILURE
        assert killed.tags[RUN_KEY_TAG] != again.run_key
        assert ingest(home, instance, again) and not ask(home, instance)
    assert unsound(home) == [] and None not in contents(home).values()


def test_a_full_disk_is_said_plainly_and_loses_nothing(
    home: Home, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root, media = Path(str(home.root)), film(tmp_path / "thing.mp4", 0)
    root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={media.stat().st_size + 20_000}", "none", root]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("Only who may mount can make a small disk.")
    try:
        drop(home, [media])
        assert ask(home, instance) == []  # It would fail.
        monkeypatch.setattr(sensors, "LEAST_FREE_BYTES", 0)
        monkeypatch.setattr(records, "BACKOFF_S", 0.0)
        [request] = ask(home, instance)
        assert not ingest(home, instance, request)
        said = failures(instance)
        assert len(said) == 1  # It was not tried again at once.
        assert re.fullmatch(rf"The disk is full: .* {root}\S+; free some .* again\.", said[0])
        # A checkpoint that does not fit leaves no half of one.
        card, weights = Card("image_encoder", {}, 0, "none"), {"weights": torch.ones(1_000_000)}
        with pytest.raises(DiskFull, match="The disk is full"):
            checkpoints.save(home, card, weights)
        assert not [path for path in (root / "models").rglob("*") if path.is_file()]
        assert store.remembered(home) == [] and unsound(home) == []
        subprocess.run(["mount", "-o", "remount,size=20m", root], check=True)
        [again] = ask(home, instance)
        assert ingest(home, instance, again)
        checkpoints.save(home, card, weights)
        assert unsound(home) == [] and None not in contents(home).values()
    finally:
        subprocess.run(["umount", "-l", root], check=True)


def failures(instance: dg.DagsterInstance) -> list[str]:
    """What the steps of all runs have failed with."""
    events = [
        entry.dagster_event
        for run in instance.get_runs()
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        if entry.dagster_event
    ]
    data = [event.step_failure_data.user_failure_data for event in events]
    return [failure.description or "" if failure else "not plain" for failure in data]


def test_two_ingests_of_one_video_at_once_are_one(home: Home, tmp_path: Path):
    media = UPath(film(tmp_path / "thing.mp4", 0))

    def life(start: int) -> None:
        logging.disable()
        os.read(start, 1)
        video = videos.take_in(home, media, "learn", move=False)
        store.remember(home, video, capture(str(home.root / (video.file or ""))))

    reader, writer = os.pipe()
    lives = [born(lambda _: life(reader))[0] for _ in range(2)]
    os.write(writer, b"go")
    assert [os.waitpid(life, 0)[1] for life in lives] == [0, 0]
    assert unsound(home) == []
    assert len(contents(home)) == 1 and None not in contents(home).values()


if __name__ == "__main__":
    logging.disable()
    if sys.argv[2].startswith("["):
        key, partition, tags = json.loads(sys.argv[2])
        home = Home.at(sys.argv[1])
        die_before(str(home.index), 0, 2)
        ingest(
            home, dg.DagsterInstance.get(), dg.RunRequest(key, None, tags, partition_key=partition)
        )
    else:
        target, *sources = map(Path, sys.argv[1:])
        print(json.dumps(kill_many(target, sources)))
