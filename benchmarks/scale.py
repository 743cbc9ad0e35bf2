"""What it costs that much is remembered: with 10,000 videos, beside 100.

    python benchmarks/scale.py [--partitions 10000] [--folder FOLDER]

Builds both homes in a temporary folder, from copies of one small video that was remembered through
the real store, with as many partitions and materializations in Dagster's storage (SQLite, rows
copied from one real one), and as many files in the inbox. Each time is the median of a few, in this
process, with the processor's share of it in brackets: on a busy machine the rest is waiting. The
asset page is asked of a real webserver by the query that the page makes. Database size is measured
on real ingests of a drawn video of ten seconds. Prints Markdown; under a minute on two idle cores.
"""

import argparse
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import av
import dagster as dg
import numpy as np
from upath import UPath

from aela.capture import SAMPLE_RATE_HZ, Clip, Frame
from aela.memory import catalogue, store, videos
from aela.memory import manifest as manifests
from aela.memory.cache import Cache, Wanted
from aela.storage import Home, sha256
from aela_dagster.runs import Runner, prepare_dagster
from aela_dagster.sensors import inbox, learning
from assets import common
from resources.memory import Memory
from resources.schedule import Schedule

FEW = 100
FRAMES = 2  # of each video
BATCH, SIDE_PX = 128, 64
ROUNDS = 5
SETTLED = 60.0  # seconds since the files in the inbox were written
ASSETS = ("frames", "clips")
INGESTS = 3  # real ones, for the size of their logs
PAGE = """
query PartitionHealthQuery($assetKey: AssetKeyInput!) {
  assetNodeOrError(assetKey: $assetKey) {
    ... on AssetNode {
      id
      partitionKeysByDimension { name type partitionKeys }
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses {
          materializedPartitions materializingPartitions failedPartitions
        }
      }
      assetMaterializations(limit: 1) { runId timestamp partition }
    }
  }
}
"""


def built(folder: Path, partitions: int) -> tuple[Home, dg.DagsterInstance]:
    """A home of so many remembered videos, which Dagster knows, and as many files in its inbox."""
    home = _home(folder)
    first = _one_video(home)
    entry = store.entry(home, first.video)
    assert entry is not None
    paths = (home.frames, home.clips, home.rejections)
    whole = [(path, path(first.video).read_bytes()) for path in paths]
    keys = [first.video]
    for number in range(1, partitions):
        sha = sha256(str(number).encode())
        key = videos.key(f"video {number}.mp4", sha)
        record = replace(first, video=key, sha256=sha, file=f"videos/files/{key}.mp4")
        _write(home.root / str(record.file), b"%d" % number)
        for path, content in whole:
            _write(path(key), content)
        index = {**asdict(entry), "video": key, "content": sha}
        del index["roles"]
        _write(home.index / f"{key}.json", json.dumps(index).encode())
        _write(home.videos / f"{key}.json", json.dumps(asdict(record)).encode())
        keys.append(key)
    _drop(home, partitions)
    instance = dg.DagsterInstance.get()
    instance.add_dynamic_partitions(common.videos.name or "", keys)
    _materialized(instance, keys)
    return home, instance


def _home(folder: Path) -> Home:
    """An empty home, and Dagster's folder in it with the project's own settings."""
    os.environ.pop("DAGSTER_HOME", None)
    home = Home.at(folder)
    prepare_dagster(home)
    return home


def _one_video(home: Home) -> videos.Video:
    source = UPath(home.root / "video 0.mp4")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(b"0")
    video = videos.take_in(home, source, "learn", move=True)
    views, sound = np.zeros((2, 12, 16, 3), np.uint8), np.zeros(SAMPLE_RATE_HZ, np.float32)
    frames = [Frame(float(second), bytes(500), 32, 24, 1.0, views) for second in range(FRAMES)]
    store.remember(home, video, [*frames, Clip(0.0, 0.5, sound, 0.1, -20.0, 30.0)])
    return video


def _write(path: UPath, content: bytes) -> None:
    """Without waiting for the disk, as nothing is lost here."""
    local = Path(str(path))
    if not local.parent.exists():
        local.parent.mkdir(parents=True)
    local.write_bytes(content)


def _drop(home: Home, number: int) -> None:
    """So many new files in the inbox, whole for a while."""
    then = time.time() - SETTLED
    for place in range(number):
        path = home.inbox("learn") / f"dropped {place}.mp4"
        _write(path, f"dropped {place}".encode())
        os.utime(str(path), (then, then))


def _materialized(instance: dg.DagsterInstance, keys: list[str]) -> None:
    """Materialize the first key of each asset, and copy what that wrote for all others."""
    for asset in ASSETS:
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset,
                partition=keys[0],
                metadata={"dagster/row_count": FRAMES, "content": sha256(b"")},
                tags={"dagster/data_version": sha256(b"")},
            )
        )
    [database] = Path(instance.root_directory).rglob("index.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, link in (("event_logs", None), ("asset_event_tags", "event_id")):
            _copied(connection, table, link, keys)


def _copied(connection: sqlite3.Connection, table: str, link: str | None, keys: list[str]) -> None:
    """Copy the rows of the first key for all other keys; `link` names the events they belong to."""
    rows = connection.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in rows.description]
    first = rows.fetchall()
    events = len(ASSETS)

    def copies() -> Iterator[list[Any]]:
        for number, key in enumerate(keys[1:], start=1):
            for row in first:
                values = dict(zip(names, row, strict=True))
                if link:
                    values[link] += number * events
                if "id" in values:
                    values["id"] += number * len(first)
                yield [
                    value.replace(keys[0], key) if isinstance(value, str) else value
                    for value in values.values()
                ]

    marks = ", ".join("?" * len(names))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", copies())


def seconds(
    act: Callable[[], object],
    before: Callable[[], object] = lambda: None,
    rounds: int = ROUNDS,
) -> tuple[float, float]:
    """Median seconds of `act`, each time after `before`, and those of the processor."""
    taken, computing = [], []
    for _ in range(rounds):
        before()
        start, computed = time.perf_counter(), time.process_time()
        act()
        taken.append(time.perf_counter() - start)
        computing.append(time.process_time() - computed)
    return statistics.median(taken), statistics.median(computing)


def new_process() -> None:
    """Forget what a process holds of the catalogue; the snapshot stays."""
    catalogue._held.clear()


def measured(home: Home, instance: dg.DagsterInstance, folder: Path) -> dict[str, str]:
    """The rows of the table for one home."""
    resources = {"memory": Memory(location=str(home.root)), "schedule": Schedule()}

    def tick(sensor: dg.SensorDefinition, cursor: str | None = None) -> dg.SensorResult:
        context = dg.build_sensor_context(instance, cursor, resources=resources)
        return sensor(context)  # type: ignore[return-value]

    rows = {"the first tick of all, without a snapshot": seconds(lambda: tick(inbox), rounds=1)}
    rows["the first tick of a process"] = seconds(lambda: tick(inbox), new_process)
    rows["**an inbox tick**, every file listed, none taken in"] = seconds(lambda: tick(inbox))
    there = len(list(Path(str(home.inbox("learn"))).iterdir()))
    cursor, taking = tick(inbox).cursor, time.perf_counter()
    result = tick(inbox, cursor)
    taken_s = time.perf_counter() - taking
    taken = there - len(list(Path(str(home.inbox("learn"))).iterdir()))
    asked = len(result.run_requests or [])
    rows["a tick of the sensor of learning"] = seconds(lambda: tick(learning))

    number = iter(range(10**6))

    def drop() -> UPath:
        place = f"another {next(number)}"
        source = UPath(folder / f"{place}.mp4")
        source.write_bytes(place.encode())
        return source

    rows["**taking in one video**"] = seconds(
        lambda: videos.take_in(home, drop(), "learn", move=True)
    )
    rows["a manifest, without a snapshot"] = seconds(
        lambda: manifests.of_now(home), lambda: catalogue.forget(home), rounds=1
    )
    rows["**a manifest**, after one more video"] = seconds(
        lambda: manifests.of_now(home), lambda: _remember_one_more(home, drop())
    )
    rows[f"**a batch of {BATCH} frames** at {SIDE_PX} px"] = _batch(home)
    size = sum(path.stat().st_size for path in Path(instance.root_directory).rglob("*.db*"))
    page = dict(zip(("first", "again"), asset_page(), strict=True))
    return {
        **{name: f"{s * 1e3:.0f} ms ({cpu * 1e3:.0f})" for name, (s, cpu) in rows.items()},
        "a tick that takes files in": f"{taken_s:.2f} s, {taken} files, {asked} runs asked for",
        "**the webserver's asset page**, first": f"{page['first'] * 1e3:.0f} ms",
        "… again": f"{page['again'] * 1e3:.0f} ms",
        "**database**, partitions and materializations": f"{size / 1e6:.1f} MB",
    }


def _remember_one_more(home: Home, source: UPath) -> None:
    video = videos.take_in(home, source, "learn", move=True)
    views = np.zeros((2, 12, 16, 3), np.uint8)
    store.remember(home, video, [Frame(0.0, bytes(500), 32, 24, 1.0, views)])


def _batch(home: Home) -> tuple[float, float]:
    """Seconds of drawing a batch from a warm cache; what fills it is noise, for the reading."""
    shape, random = (3, SIDE_PX, SIDE_PX), np.random.default_rng(0)
    noise = random.integers(0, 256, (FRAMES, *shape), dtype=np.uint8)
    wanted = [
        Wanted(e.content, FRAMES, np.arange(FRAMES), {"noise": SIDE_PX}, lambda rows: noise[rows])
        for e in store.remembered(home)
        if e.frames == FRAMES
    ]
    rows = Cache.of(home).load(wanted, shape)
    for _ in range(20):
        rows[random.integers(0, len(rows), BATCH)]
    return seconds(lambda: rows[random.integers(0, len(rows), BATCH)], rounds=50)


def asset_page() -> tuple[float, float]:
    """Seconds of the query of the asset page of `frames`: first after the start, and again."""
    with webserver() as address:
        body = {"query": PAGE, "variables": {"assetKey": {"path": [ASSETS[0]]}}}

        def ask() -> None:
            node = asked(address, body)["assetNodeOrError"]
            done = node["assetPartitionStatuses"]["materializedPartitions"]
            assert len(done) == len(node["partitionKeysByDimension"][0]["partitionKeys"])

        return seconds(ask, rounds=1)[0], seconds(ask, rounds=3)[0]


def asked(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """The data that a GraphQL query gets."""
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    assert "errors" not in found, found
    return found["data"]


@contextmanager
def webserver() -> Iterator[str]:
    """A webserver on a free port of this machine, ready to answer; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["dagster_webserver", "-m", "aela_dagster.definitions", "-h", "127.0.0.1"]
    server = subprocess.Popen(
        [sys.executable, "-m", *command, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                asked(address, {"query": "{ repositoriesOrError { __typename } }"})
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def ingest_bytes(folder: Path) -> float:
    """What a real ingest of a drawn video of ten seconds leaves in Dagster's storage, in bytes."""
    runner = Runner.at(_home(folder))
    sizes = []
    for number in range(INGESTS):
        source = folder / f"real {number}.mp4"
        _film(source, number)
        runner.run("ingest", runner.take_in(source, "learn").video)
        files = (path for path in (folder / "dagster").rglob("*") if path.is_file())
        sizes.append(sum(path.stat().st_size for path in files))
    return (sizes[-1] - sizes[0]) / (INGESTS - 1)


def _film(path: Path, seed: int) -> None:
    """Ten seconds of drawn pictures, 320 x 240."""
    random = np.random.default_rng(seed)
    scene = random.integers(0, 256, (30, 140, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(100):
            view = scene[:, 8 * number :][:, :320].copy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, "rgb24")))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs that much is remembered")
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to build the temporary homes")
    arguments = parser.parse_args()
    columns: dict[int, dict[str, str]] = {}
    start = time.perf_counter()
    for partitions in (FEW, arguments.partitions):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            home, instance = built(Path(folder), partitions)
            with instance:
                columns[partitions] = measured(home, instance, Path(folder))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        per_ingest = ingest_bytes(Path(folder))
    print("| | " + " | ".join(f"{n:,} videos, {n:,} files in the inbox" for n in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for name in columns[FEW]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns.values()) + " |")
    logs = (f"{per_ingest * n / 1e6:.0f} MB" for n in columns)
    print(
        f"| … and the logs of their ingests, {per_ingest / 1e3:.0f} kB each | {' | '.join(logs)} |"
    )
    took_s = time.perf_counter() - start
    print(f"\nTook {took_s:.0f} s. Load on the machine: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
