"""What it costs that Dagster holds it together: waiting, work of its own, idling.

    python benchmarks/orchestration.py [--videos FOLDER] [--learned 2] [--preset quick]
        [--effort 0.3] [--drops 2] [--idle 60]

Learns from LEARNED videos of half a minute in a temporary home, in this process; then opens the UI
with all that `aela up` starts, lets it idle, and drops videos into its inbox: to watch, then to
learn from, each once the one before is learned. FOLDER holds at least LEARNED + 2 x DROPS videos;
without it the nursery draws them. Prints Markdown; a quarter of an hour on two cores, longer with
more to learn.
"""

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType

from aela.learning import checkpoints
from aela.learning.checkpoints import MODELS
from aela.memory import manifest as manifests
from aela.memory.videos import Role
from aela.mimicry import generation as generations
from aela.nursery import NurserySettings, make_nursery
from aela.storage import Home
from aela_dagster import records
from aela_dagster.runs import Runner

MOST_WAIT_S = 600.0
QUIET_S = 70.0  # without any run; longer than between two ticks of any sensor
POLL_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description="What Dagster costs")
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--learned", type=int, default=2, help="before the stack is started")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--drops", type=int, default=2)
    parser.add_argument("--effort", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=0, help="of a training; 0: all cores")
    parser.add_argument("--idle", type=float, default=60.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    given, learned, drops = arguments.videos, arguments.learned, arguments.drops
    if given is None:
        make_nursery(folder / "drawn", NurserySettings(things=learned + drops, train_seconds=30))
        given = folder / "drawn" / "train"
    videos = sorted(given.glob("*.mp4"))[: learned + 2 * drops]
    runner = Runner.at(
        Home.at(folder / "home"),
        preset=arguments.preset,
        effort=arguments.effort,
        threads=arguments.threads,
    )
    for video in videos[:learned]:
        runner.run("ingest", runner.take_in(video, "learn").video)
    row("", "measured", "bar")
    row("---", "---", "---")
    row("**Dagster's share of a whole `learn`**", share_of_learn(runner), "≤ 10 %")
    runner.run("evaluate")
    with stack(runner.home, folder / "log", arguments):
        quiet(runner.instance)
        percent, megabytes = idle(arguments.idle)
        row("**idle CPU of the whole stack**", f"{percent:.1f} % of a core", "≤ 5 %")
        row("**its memory** (PSS)", f"{megabytes:.0f} MB", "≤ 1000 MB")
        watched = [drop(runner, video, "watch") for video in videos[learned : learned + drops]]
        row("**watch video dropped → predictions**", told(watched), "≤ 20 s")
        quiet(runner.instance)
        remembered, spoken = [], []
        for video in videos[learned + drops :]:
            dropped = time.monotonic()
            remembered.append(drop(runner, video, "learn"))
            wait(lambda: speaks_of_all(runner.home), f"learning from {video.name}")
            spoken.append(time.monotonic() - dropped)
            quiet(runner.instance)
        row("**learn video dropped → frames and clips**", told(remembered), "≤ 15 s")
        row("**learn video dropped → a generation that learned from it**", told(spoken), "≤ 90 s")
        row("a run's fixed cost: asked for → first step", told(fixed_costs(runner.instance)), "")
    print(f"\nLoad on the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")


def row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def told(seconds: list[float]) -> str:
    each = ", ".join(f"{value:.1f}" for value in seconds)
    return f"{statistics.median(seconds):.1f} s ({each})"


def share_of_learn(runner: Runner) -> str:
    """What of the job's time is no step's own work: between the steps, until a trainer's process
    runs, and what is told of its checkpoint once that is written.
    """
    start = time.monotonic()
    run_id = runner.run("learn").run_id
    total_s = time.monotonic() - start
    started, ended, opened = {}, {}, {}
    for entry in runner.instance.all_logs(run_id):
        step = entry.step_key or ""
        if entry.dagster_event and entry.dagster_event.is_step_start:
            started[step] = entry.timestamp
        if entry.dagster_event and entry.dagster_event.is_step_success:
            ended[step] = entry.timestamp
        if "opened dagster pipes" in entry.user_message:
            opened[step] = entry.timestamp
    own_s, trained_s = sum(ended[step] - started[step] for step in ended), 0.0
    for model in MODELS:
        found = checkpoints.required(runner.home, model)
        card = Path(str(runner.home.models(model) / f"{found.sha}.json"))
        own_s -= opened[model] - started[model] + ended[model] - card.stat().st_mtime
        trained_s += found.card.metrics["seconds"]
    return (
        f"{1 - own_s / total_s:.0%}: {total_s - own_s:.1f} of {total_s:.0f} s "
        f"({trained_s:.0f} s of it in the trainers' loops)"
    )


@contextmanager
def stack(home: Home, log: Path, arguments: argparse.Namespace) -> Iterator[None]:
    """What `aela up` starts, ready to answer; ended in order afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["aela_dagster.cli", "up", "--home", str(home.root), "--port", str(port)]
    settings = ["--preset", arguments.preset, "--effort", str(arguments.effort)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, *settings],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait(lambda: answers(port), "the UI")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def wait(done: Callable[[], bool], what: str) -> float:
    """Seconds until it is done."""
    start = time.monotonic()
    while not done():
        if time.monotonic() - start > MOST_WAIT_S:
            raise TimeoutError(f"{what} took longer than {MOST_WAIT_S:.0f} s.")
        time.sleep(POLL_S)
    return time.monotonic() - start


def quiet(instance: dg.DagsterInstance) -> None:
    """Wait until no run was under way for a while."""
    last = time.monotonic()

    def at_rest() -> bool:
        nonlocal last
        if records.under_way(instance):
            last = time.monotonic()
        return time.monotonic() - last >= QUIET_S

    wait(at_rest, "coming to rest")


def idle(seconds: float) -> tuple[float, float]:
    """CPU of all processes of the stack in % of one core, and their memory in MB."""
    before = sum(map(cpu_s, processes()))
    time.sleep(seconds)
    percent = 100 * (sum(map(cpu_s, processes())) - before) / seconds
    return percent, sum(map(pss_mb, processes()))


def processes() -> list[Path]:
    """Those that descend from this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return [Path(f"/proc/{pid}") for pid in found - {os.getpid()}]


def cpu_s(process: Path) -> float:
    numbers = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def pss_mb(process: Path) -> float:
    lines = (process / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("Pss:"))


def drop(runner: Runner, video: Path, role: Role) -> float:
    """Seconds from the file's arrival until Dagster has what is made of it."""
    inbox = Path(str(runner.home.inbox(role)))
    assets = ("predictions",) if role == "watch" else ("frames", "clips")
    keys = [dg.AssetKey(asset) for asset in assets]
    before = [runner.instance.get_materialized_partitions(key) for key in keys]
    shutil.copyfile(video, inbox / video.name)

    def made() -> bool:
        now = [runner.instance.get_materialized_partitions(key) for key in keys]
        return all(len(after) > len(there) for after, there in zip(now, before, strict=True))

    return wait(made, f"{video.name}")


def speaks_of_all(home: Home) -> bool:
    """Whether the generation that speaks has learned from all that is remembered."""
    generation = generations.current(home)
    return generation is not None and generation.manifest == manifests.of_now(home).sha


def fixed_costs(instance: dg.DagsterInstance) -> list[float]:
    """Seconds from when each ingest of the stack was asked for until its first step began."""
    found = []
    for job in ("ingest", "ingest_and_watch"):
        for record in instance.get_run_records(dg.RunsFilter(job_name=job)):
            if "dagster/sensor_name" in record.dagster_run.tags:
                run_id = record.dagster_run.run_id
                began = instance.all_logs(run_id, of_type=DagsterEventType.STEP_START)
                if began:
                    found.append(began[0].timestamp - record.create_timestamp.timestamp())
    return found


if __name__ == "__main__":
    main()
