"""A home in an object store: the same code, against a real S3 server on this machine."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import numpy as np
import pytest
import s3fs
from moto.server import ThreadedMotoServer
from rich.console import Console
from typer.testing import CliRunner
from upath import UPath

from aela.capture import Frame
from aela.learning import embeddings
from aela.learning.bookmark import Bookmark
from aela.learning.checkpoints import Card
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.forget import forget
from aela.mimicry import generation as generations
from aela.mimicry.predict import read_predictions
from aela.mimicry.trace import trace
from aela.mimicry.verify import kinds
from aela.storage import Home, atomic, write_json
from aela_dagster import stages
from aela_dagster.cli import app
from aela_dagster.definitions import defs
from aela_dagster.runs import Runner
from aela_dagster.sensors import SENSORS
from resources.memory import Memory
from resources.schedule import Schedule

BUCKET = "aela"
Life = Any  # the home that the fixture `life` makes


class Wire:
    """Forwards connections to a server, counts the bytes, and can hold or cut them."""

    def __init__(self, port: int) -> None:
        self.port, self.up, self.down, self.requests = port, 0, 0, 0
        self.hold_after: int | None = None
        self.held, self.released = threading.Event(), threading.Event()
        self._open: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            self._open += [client, server]
            for way in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._forward, args=way, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, upwards: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if upwards:
                    self.up += len(data)
                    self.requests += data.startswith((b"GET ", b"HEAD ", b"PUT ", b"POST "))
                    if self.hold_after is not None and self.up > self.hold_after:
                        self.held.set()
                        self.released.wait()
                else:
                    self.down += len(data)
                target.sendall(data)
        except OSError:
            pass
        finally:
            target.close()

    def cut(self) -> None:
        """Close everything; nobody can connect any more."""
        for end in (self._door, *self._open):
            with contextlib.suppress(OSError):  # closed already
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.released.set()


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadedMotoServer]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        patch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    s3fs.S3FileSystem.clear_instance_cache()
    yield server
    patch.undo()
    server.stop()


@pytest.fixture
def home(server: ThreadedMotoServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Home:
    """An empty home in the store, which `Home.at()` finds too."""
    monkeypatch.setenv("AELA_HOME", f"s3://{BUCKET}/{tmp_path.name}")
    monkeypatch.setenv("AELA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return Home.at()


def objects(home: Home) -> set[str]:
    """What another client of the store sees in the home."""
    prefix = home.root.path.removeprefix(f"{BUCKET}/") + "/"
    listed = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return {found["Key"].removeprefix(prefix) for found in listed.get("Contents", [])}


def problems(home: Home) -> list[str]:
    return [said for kind in kinds(home) for thing in kind.things for said in kind.problems(thing)]


def test_what_was_learned_is_read_back_verified_and_forgotten(life: Life):
    home, generation = life.home, life.generation
    manifest = manifests.read(home, generation.manifest)
    values, offsets = embeddings.gather(home, generation.image_encoder, manifest, "frame")
    assert values.shape == (6, 4) and set(offsets) == {life.cup, life.pen}
    assert trace(home, f"{life.watched}@0").row["clip_video"] == life.cup
    forget(home, life.cup)
    assert {name for name in objects(home) if life.cup in name} == {f"forgotten/{life.cup}.json"}
    assert problems(home) == []
    assert len(read_predictions(home, life.watched, generation.sha)) == 3


def test_the_commands_look_after_it(life: Life, tmp_path: Path):
    def aela(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["memory", *arguments], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output
        return result.output

    listed = json.loads(aela("ls", "--json"))
    assert {video["video"] for video in listed["videos"]} == {life.cup, life.pen, life.watched}
    aela("show", "cup", "--to", str(tmp_path / "shown"))
    assert (tmp_path / "shown" / "contact_sheet.jpg").stat().st_size > 0
    aela("export", "pen", "--to", str(tmp_path / "files"))
    assert len(list((tmp_path / "files").rglob("*.jpg"))) == 3
    aela("verify")
    aela("forget", "cup", "--yes")
    assert f"forgotten/{life.cup}.json" in objects(life.home)


def test_a_bucket_or_library_that_is_missing_is_said_plainly(
    server: ThreadedMotoServer, monkeypatch: pytest.MonkeyPatch
):
    result = CliRunner().invoke(app, ["memory", "show", "cup", "--home", "s3://no-such-bucket/a"])
    assert "There is no data folder s3://no-such-bucket/a" in str(result.exception)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3")
    with pytest.raises(ValueError, match=r"s3://a/b needs a library; .*pip install s3fs"):
        Home.at("s3://a/b")


def test_what_others_write_is_seen_at_once(life: Life):
    """Listings that this process has seen must not hide what another process wrote since."""
    home = life.home
    assert life.pen in {entry.video for entry in store.remembered(home)}
    assert [path.name for path in home.forgotten.glob("*.json")] == []
    prefix = home.root.path.removeprefix(f"{BUCKET}/")
    other = boto3.client("s3")
    index = {**json.loads((home.index / f"{life.pen}.json").read_bytes()), "video": "new-1"}
    record = {**json.loads((home.videos / f"{life.pen}.json").read_bytes()), "video": "new-1"}
    for folder, value in (("memory/index", index), ("videos", record), ("forgotten", {})):
        key = f"{prefix}/{folder}/new-1.json"
        other.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(value).encode())
    assert "new-1" in {entry.video for entry in store.remembered(home)}
    assert [path.name for path in home.forgotten.glob("*.json")] == ["new-1.json"]


def test_an_unfinished_training_goes_on_and_its_bookmarks_are_deleted(
    life: Life, monkeypatch: pytest.MonkeyPatch
):
    home, random = life.home, np.random.default_rng(0)
    held = manifests.take(home).sha

    def bookmark(seed: int, manifest: str = held) -> Bookmark:
        made = Bookmark(home, Card("associator", {}, seed, manifest), "cpu")
        made.hold(random=random)
        return made

    bookmark(0).save()
    drawn = random.integers(1 << 60)
    assert not bookmark(1).load()
    assert bookmark(0).load() and random.integers(1 << 60) == drawn
    bookmark(0).delete()
    assert not bookmark(0).load()
    for seed in range(3):
        bookmark(seed).save()
    bookmark(3, "another").save()
    forget(home, life.cup)
    left = [name for name in objects(home) if "unfinished" in name]
    assert len(left) == 1 and "another" in left[0]
    monkeypatch.setattr("aela.learning.bookmark.KEPT_DAYS", 0.0)
    assert not bookmark(4).load()
    assert not [name for name in objects(home) if "unfinished" in name]


@pytest.fixture
def wire(server: ThreadedMotoServer) -> Iterator[Wire]:
    wire = Wire(server.get_host_and_port()[1])
    yield wire
    wire.cut()


def test_a_row_of_a_long_video_costs_a_few_small_reads(home: Home, wire: Wire):
    random = np.random.default_rng(0)
    views = np.zeros((2, 12, 16, 3), np.uint8)
    frames = [Frame(float(s), random.bytes(20_000), 299, 224, 0.1, views) for s in range(600)]
    source = UPath("memory://small-reads/long.mp4")
    source.write_bytes(b"long")
    video = videos.take_in(home, source, "learn", move=False)
    store.remember(home, video, frames)
    size = home.frames(video.video).stat().st_size
    far = Home(UPath(home.root, endpoint_url=wire.address, use_listings_cache=False))
    far.root.exists()
    costs: dict[str, tuple[int, int]] = {}

    def cost(name: str, read: Callable[[], Any]) -> Any:
        down, requests = wire.down, wire.requests
        result = read()
        costs[name] = (wire.down - down, wire.requests - requests)
        return result

    row = cost("a row", lambda: store.read_row(far, video.video, "frame", 567, ["jpeg"]))
    assert row == {"jpeg": frames[567].jpeg}
    times = cost("times", lambda: store.read_frames(far, video.video, ["time_s"]))
    assert times["time_s"].to_pylist() == [float(second) for second in range(600)]
    with pytest.raises(IndexError):
        store.read_row(far, video.video, "frame", 600)
    assert size > 12_000_000
    assert costs["a row"][0] < 600_000 and costs["a row"][1] <= 4, costs
    assert costs["times"][0] < 400_000, costs


TAKE_IN = """
from upath import UPath
import sys
from aela.memory import videos
from aela.storage import Home
videos.take_in(Home.at(), UPath(sys.argv[1]), "learn", move=False)
"""


@pytest.mark.parametrize("interrupted", ["connection", "process"])
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(1_000_000, id="one-part"),
        pytest.param(110_000_000, id="many-parts", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_upload_leaves_nothing_and_is_made_again(
    home: Home, wire: Wire, tmp_path: Path, size: int, interrupted: str
):
    source = tmp_path / "film.mp4"
    source.write_bytes(np.random.default_rng(0).bytes(size))
    command = [sys.executable, "-c", TAKE_IN, str(source)]
    wire.hold_after = size * 2 // 3
    far = {**os.environ, "AWS_ENDPOINT_URL": wire.address}
    with subprocess.Popen(command, env=far, stderr=subprocess.PIPE) as process:
        assert wire.held.wait(60)
        if interrupted == "process":
            process.send_signal(signal.SIGKILL)
        wire.cut()
        assert process.wait(60) != 0
    assert not objects(home)
    subprocess.run(command, check=True)
    assert len(objects(home)) == 2
    assert problems(home) == []


def test_an_interrupted_memory_is_no_memory(home: Home):
    source = UPath("memory://interrupted/cup.mp4")
    source.write_bytes(b"cup")
    video = videos.take_in(home, source, "learn", move=False)

    def breaks() -> Iterator[Frame]:
        yield Frame(0.0, b"jpeg", 32, 24, 0.1, np.zeros((2, 12, 16, 3), np.uint8))
        raise RuntimeError("no more")

    before = objects(home)
    with pytest.raises(RuntimeError):
        store.remember(home, video, breaks())
    assert objects(home) == before
    write_json(home.root / "settings.json", 1)
    with pytest.raises(RuntimeError), atomic(home.root / "settings.json") as file:
        file.write(b"half")
        raise RuntimeError
    assert (home.root / "settings.json").read_bytes() == b"1"


def tick(name: str, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    resources = {"memory": Memory(), "schedule": Schedule(least_frames=1)}
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
    return defs.resolve_sensor_def(name)(context)


def test_what_is_dropped_into_the_inbox_is_remembered(home: Home, nursery: Path):
    video = next((nursery / "train").glob("*.mp4"))
    instance, cursor, requests = dg.DagsterInstance.ephemeral(), None, []
    for sensor in SENSORS:
        tick(sensor.name, instance)  # of an empty store
    write = home.inbox("learn") / video.name
    home.root.fs.put_file(str(video), write.path)
    for _ in range(20):
        found = tick("inbox", instance, cursor)
        cursor, requests = found.cursor, found.run_requests
        if requests:
            break
        threading.Event().wait(0.3)
    [request] = requests
    instance.add_dynamic_partitions("videos", [request.partition_key])
    job = defs.resolve_job_def("ingest")
    assert job.execute_in_process(instance=instance, partition_key=request.partition_key).success
    [entry] = store.remembered(home)
    assert entry.frames >= 5 and entry.clips >= 1
    asked = tick("learning", instance).run_requests
    assert [request.job_name for request in asked] == ["learn_sight", "learn_hearing"]
    assert problems(home) == []
    assert not write.exists()


@pytest.mark.slow
def test_the_whole_way_from_videos_to_spoken_predictions(home: Home, nursery: Path):
    console = Console(quiet=True)
    runner = Runner.at(home, preset="quick", effort=0.05, device="cpu")
    stages.ingest(console, runner, sorted((nursery / "train").glob("*.mp4")), "learn")
    watched = stages.ingest(console, runner, sorted((nursery / "test").glob("*.mp4")), "watch")
    stages.learn(console, runner)
    stages.watch(console, runner, watched)
    runner.run("evaluate")
    generation = generations.required(home)
    assert len(read_predictions(home, watched[0], generation.sha)) > 0
    assert home.spoken_video(watched[0], generation.sha).stat().st_size > 0
    assert home.report(generation.sha).stat().st_size > 0
    assert problems(home) == []
    learned = store.remembered(home, "learn")[0].video
    forget(home, learned)
    assert problems(home) == []
    assert {name for name in objects(home) if learned in name} == {f"forgotten/{learned}.json"}
