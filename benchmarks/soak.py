"""Left alone for an hour: videos are dropped every minute, and things go wrong at random.

    python benchmarks/soak.py [--minutes 60] [--every 60] [--videos FOLDER] [--seed 0]

Runs the real stack, `aela up` with small trainings, on a temporary home, as a supervisor would:
when it ends, it is started again. Short videos are cut from those in FOLDER, else from sample
videos made first, and dropped to be learned from or watched. With most drops something goes wrong,
drawn by the seed: the runs, the trainers, the daemon or all processes are killed (SIGKILL), or a
damaged file, what is no video, a file that grows slowly or a content that was dropped before is
dropped, too. A full disk is not simulated here but in `tests/e2e/test_durability.py`.

When the time is over, nothing more is done, and the stack has until --settle minutes to come to
rest. What became of everything is then read from the disk and from Dagster's records, not from what
was done, and printed as Markdown; what happens is logged to stderr. Ends with 1 if anything was
lost. Needs Linux, whose `/proc` tells which processes there are and what they use.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av
import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from upath import UPath

from aela.learning.checkpoints import MODELS
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.videos import Role
from aela.mimicry import generation as generations
from aela.mimicry import verify
from aela.mimicry.predict import predicted
from aela.storage import Home, read_json, sha256_file
from aela_dagster.runs import prepare_dagster

SECONDS = 12.0  # of a dropped video
WATCHED_SHARE = 0.25  # of the drops
FIRST_LEARNED = 4  # drops, before any is watched or anything goes wrong
KILLS = {
    "kill the runs": ("spawn_main",),
    "kill the trainers": ("resources.trainer",),
    "kill the daemon": ("dagster._daemon", "dagster-daemon"),
    "kill everything": ("",),
}
FILES = ("damaged file", "no video", "slowly growing file", "same content again")
CALM_SHARE = 0.25  # of the drops, with which nothing goes wrong
TICK_S = 0.25
SAMPLE_S = 10.0
SLOWLY_S = 20.0
RESTART_S = 2.0
PART_MINUTES = 10  # of the table of memory and processor


@dataclass(frozen=True)
class Process:
    """What `/proc` tells of one process: resident bytes, and processor seconds so far."""

    pid: int
    command: str
    resident: int
    processor_s: float


@dataclass
class Drop:
    """A whole video that was put into the inbox."""

    name: str
    role: Role
    sha256: str
    at: float


@dataclass
class Soak:
    """What was done, and what it used."""

    home: Home
    random: random.Random
    started: float = field(default_factory=time.monotonic)
    drops: list[Drop] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    samples: list[tuple[float, int, float]] = field(default_factory=list)  # minute, bytes, cores

    def log(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:7.1f} s  {text}", file=sys.stderr, flush=True)


# The stack


def processes(home: Home) -> list[Process]:
    """All processes of the stack: those whose environment names this home."""
    named, own = f"AELA_HOME={home.root}".encode(), os.getpid()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if named not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            command = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
            values = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # It ended meanwhile, or is somebody else's.
        if int(folder.name) != own and values[0] != "Z":
            used = (int(values[11]) + int(values[12])) / ticks
            found.append(Process(int(folder.name), command, int(values[21]) * page, used))
    return found


def up(soak: Soak, effort: float) -> subprocess.Popen[bytes]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--preset", "quick", "--effort", str(effort), "--device", "cpu"]
    with Path(str(soak.home.root / "up.log")).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "aela_dagster.cli", "up", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "AELA_HOME": str(soak.home.root)},
        )


def stop(soak: Soak, stack: subprocess.Popen[bytes]) -> None:
    stack.send_signal(signal.SIGINT)
    try:
        stack.wait(60)
    except subprocess.TimeoutExpired:
        soak.log("it did not end by itself within a minute")
    kill(soak.home, ("",))
    stack.wait()


def kill(home: Home, named: tuple[str, ...]) -> int:
    """Kill the processes of the stack whose command names one of these; how many there were."""
    killed = 0
    for process in processes(home):
        if any(name in process.command for name in named):
            try:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
    return killed


# What is dropped


def cut(source: Path, target: Path, start_s: float, title: str) -> None:
    """Copy a stretch of a video, from a key picture on, without decoding it; the title makes its
    content another one."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as part:
        part.metadata["title"] = title
        streams = {
            stream.index: part.add_stream_from_template(stream)
            for stream in (*whole.streams.video[:1], *whole.streams.audio[:1])
        }
        whole.seek(int(start_s * av.time_base))
        begin_s: float | None = None
        for packet in whole.demux([whole.streams[index] for index in streams]):
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            begin_s = float(packet.dts * packet.time_base) if begin_s is None else begin_s
            if packet.dts * packet.time_base > begin_s + SECONDS:
                break
            offset = round(begin_s / packet.time_base)
            packet.pts -= offset
            packet.dts -= offset
            packet.stream = streams[packet.stream.index]
            part.mux(packet)


def sources(folder: Path | None, scratch: Path) -> list[tuple[Path, float]]:
    """Videos to cut from and their length in seconds; made, where no folder is given."""
    if folder is None:
        from aela.nursery import NurserySettings, make_nursery

        settings = NurserySettings(
            things=4, train_seconds=30, new_speaker_test=False, width=320, height=240, fps=10
        )
        make_nursery(scratch / "nursery", settings)
        folder = scratch / "nursery" / "train"
    found = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".mp4", ".mov")):
        with av.open(str(path)) as media:
            found.append((path, float(media.duration or 0) / av.time_base))
    return found


class Dropper:
    """Puts files into the inbox, as a person would: written elsewhere, then moved there."""

    def __init__(self, soak: Soak, pool: list[tuple[Path, float]], scratch: Path) -> None:
        self.soak, self.pool, self.scratch = soak, pool, scratch
        self.count = 0
        self.growing: Iterator[None] = iter(())

    def good(self) -> None:
        source, name = self._made()
        self._move(source, name, self._role())

    def fault(self, kind: str) -> None:
        role = self._role()
        if kind == "same content again" and self.soak.drops:
            again = self.soak.random.choice(self.soak.drops)
            record = next((v for v in self._known() if v.sha256 == again.sha256), None)
            if record is not None:
                media = Path(str(videos.media_of(self.soak.home, record)))
                copy = self.scratch / f"again_{self.count}.mp4"
                shutil.copyfile(media, copy)
                copy.replace(self._inbox(again.role) / copy.name)
                self.count += 1
        elif kind == "damaged file":
            source, name = self._made()
            content = bytearray(source.read_bytes())
            for _ in range(200):
                content[self.soak.random.randrange(len(content))] ^= 0xFF
            source.write_bytes(content[: len(content) * 2 // 3])
            source.replace(self._inbox(role) / f"damaged_{name}")
        elif kind == "no video":
            target = self.scratch / f"letter_{self.count}.mp4"
            self.count += 1
            target.write_text(f"Dear AELA, this is no video ({self.count}).")
            target.replace(self._inbox(role) / target.name)
        elif kind == "slowly growing file":
            self.growing = self._slowly(*self._made(), role)

    def _slowly(self, source: Path, name: str, role: Role) -> Iterator[None]:
        """Written into the inbox piece by piece."""
        content, begun = source.read_bytes(), time.monotonic()
        sha = sha256_file(UPath(source))
        with (self._inbox(role) / name).open("wb") as file:
            while file.tell() < len(content):
                share = min(1.0, (time.monotonic() - begun) / SLOWLY_S)
                file.write(content[file.tell() : round(share * len(content))])
                file.flush()
                yield
        self.soak.drops.append(Drop(name, role, sha, time.time()))

    def _known(self) -> list[videos.Video]:
        return [video for video in videos.known(self.soak.home) if video.file]

    def _role(self) -> Role:
        early = self.count < FIRST_LEARNED
        return "watch" if not early and self.soak.random.random() < WATCHED_SHARE else "learn"

    def _inbox(self, role: Role) -> Path:
        return Path(str(self.soak.home.inbox(role)))

    def _made(self) -> tuple[Path, str]:
        source, seconds = self.soak.random.choice(self.pool)
        name = f"{source.stem}_{self.count:03d}.mp4"
        target = self.scratch / name
        start_s = self.soak.random.uniform(0, max(0.0, seconds - SECONDS))
        cut(source, target, start_s, f"drop {self.count}")
        self.count += 1
        return target, name

    def _move(self, source: Path, name: str, role: Role) -> None:
        sha = sha256_file(UPath(source))
        source.replace(self._inbox(role) / name)
        self.soak.drops.append(Drop(name, role, sha, time.time()))


# What became of it


def missing(soak: Soak, instance: dg.DagsterInstance) -> list[str]:
    """What is still to be done with what was dropped, in words; nothing once all is at rest."""
    home = soak.home
    found = [
        f"{path.name} lies in the inbox"
        for role in ("learn", "watch")
        for path in Path(str(home.inbox(role))).iterdir()
        if not path.name.startswith(".")
    ]
    known = {video.sha256: video for video in videos.known(home)}
    remembered = {entry.video for entry in store.remembered(home)}
    for drop in soak.drops:
        video = known.get(drop.sha256)
        if video is None or drop.role not in video.roles:
            found.append(f"{drop.name} was not taken in to {drop.role}")
        elif video.video not in remembered:
            found.append(f"{video.video} is not remembered")
    found += unlearned(home)
    if generation := generations.current(home):
        watched = {entry.video for entry in store.remembered(home, "watch")}
        done, metrics = predicted(home, generation.sha), home.metrics(generation.sha)
        for video in sorted(watched.difference(done)):
            found.append(f"{video} was not watched by the generation that speaks")
        if not metrics.exists() or read_json(metrics)["predicted"] != done:
            found.append("the report of the generation that speaks is not written")
    runs = instance.get_runs_count(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
    return [*found, *([f"{runs} runs are in progress"] if runs else [])]


def unlearned(home: Home) -> list[str]:
    """What the generation that speaks has not learned, unless one that had was refused."""
    now, speaks = manifests.of_now(home), generations.current(home)
    tried = {g.manifest for g in generations.known(home) if generations.state(home, g)}
    if now.sha in tried or not now.entries:
        return []
    learned = manifests.read(home, speaks.manifest).entries if speaks else ()
    return [f"{entry.video} is not learned" for entry in now.entries if entry not in learned]


def summary(soak: Soak, instance: dg.DagsterInstance, lost: list[str], settled_s: float) -> str:
    home = soak.home
    states = Counter(generations.state(home, g) for g in generations.known(home))
    runs = Counter((run.job_name, run.status.value) for run in instance.get_runs())
    quarantined = [p for p in home.quarantine.rglob("*") if p.is_file() and p.suffix != ".txt"]
    problems = [
        text
        for kind in verify.kinds(home)
        for thing in kind.things
        for text in kind.problems(thing)
    ]
    checkpoints = sum(len(list(home.models(model).glob("*.json"))) for model in MODELS)
    after_s = sorted(_seconds_until_remembered(soak))
    roles = Counter(drop.role for drop in soak.drops)
    lines = [
        "| what | number |",
        "|---|---|",
        f"| whole videos dropped (to learn from, to watch) | {len(soak.drops)} "
        f"({roles['learn']}, {roles['watch']}) |",
        *(f"| {kind} | {soak.done[kind]} |" for kind in (*KILLS, *FILES)),
        f"| restarts by the supervisor | {soak.restarts} |",
        f"| files set aside in quarantine | {len(quarantined)} |",
        f"| generations published, refused, withdrawn | {states['published']}, "
        f"{states['refused']}, {states['withdrawn']} |",
        f"| checkpoints | {checkpoints} |",
        f"| a video remembered after, median and longest | {statistics.median(after_s):.0f} s, "
        f"{after_s[-1]:.0f} s |"
        if after_s
        else "| no video was remembered | |",
        f"| at rest after the last drop | {settled_s:.0f} s |",
        f"| things that `aela memory verify` finds wrong | {len(problems)} |",
        f"| **lost** | **{len(lost)}** |",
        "",
        "| runs of | ended as | number |",
        "|---|---|---|",
        *(
            f"| {job} | {status.lower()} | {count} |"
            for (job, status), count in sorted(runs.items())
        ),
        "",
        "| minutes | memory, mean and most | processor, cores |",
        "|---|---|---|",
        *_parts(soak.samples),
        "",
        *(f"- lost: {text}" for text in lost),
        *(f"- wrong: {text}" for text in problems),
    ]
    return "\n".join(lines).rstrip()


def _seconds_until_remembered(soak: Soak) -> Iterator[float]:
    known = {video.sha256: video.video for video in videos.known(soak.home)}
    for drop in soak.drops:
        index = soak.home.index / f"{known.get(drop.sha256)}.json"
        if index.exists():
            yield index.stat().st_mtime - drop.at


def _parts(samples: list[tuple[float, int, float]]) -> Iterator[str]:
    parts: dict[int, list[tuple[float, int, float]]] = {}
    for sample in samples:
        parts.setdefault(int(sample[0] // PART_MINUTES), []).append(sample)
    for part, within in sorted(parts.items()):
        resident = [sample[1] / 1e6 for sample in within]
        cores = statistics.mean(sample[2] for sample in within)
        yield (
            f"| {part * PART_MINUTES} to {(part + 1) * PART_MINUTES} "
            f"| {statistics.mean(resident):.0f} and {max(resident):.0f} MB | {cores:.2f} |"
        )


class Meter:
    """Samples what the processes of the stack use, the ended ones as far as they were seen."""

    def __init__(self, soak: Soak) -> None:
        self.soak = soak
        self.last = time.monotonic()
        self.used: dict[int, float] = {}

    def sample(self) -> None:
        now = time.monotonic()
        if now - self.last < SAMPLE_S:
            return
        running = processes(self.soak.home)
        used = sum(max(0.0, p.processor_s - self.used.get(p.pid, 0.0)) for p in running)
        minute = (now - self.soak.started) / 60
        resident = sum(p.resident for p in running)
        self.soak.samples.append((minute, resident, used / (now - self.last)))
        self.used = {p.pid: p.processor_s for p in running}
        self.last = now


def soak(options: argparse.Namespace, folder: Path) -> int:
    home = Home.at(options.home or folder / "home")
    os.environ.pop("DAGSTER_HOME", None)
    prepare_dagster(home)
    for role in ("learn", "watch"):
        home.inbox(role).mkdir(parents=True, exist_ok=True)
    scratch = Path(str(home.root)) / "scratch"  # on the same disk, so that drops are renames
    scratch.mkdir(exist_ok=True)
    state = Soak(home, random.Random(options.seed))
    state.log("making what is dropped")
    dropper = Dropper(state, sources(options.videos, scratch), scratch)
    state.started = time.monotonic()
    stack, meter = up(state, options.effort), Meter(state)
    wanted: str | None = None  # a kill that waits until there is something to kill
    next_drop = end = time.monotonic()
    end += 60 * options.minutes
    instance = dg.DagsterInstance.get()

    def tend() -> None:
        """Once around: what a supervisor does, the slow writer, and the meter."""
        nonlocal stack
        if stack.poll() is not None:
            kill(home, ("",))  # A supervisor ends what is left of a service before it starts anew.
            state.log(f"the stack ended with {stack.returncode} and is started again")
            state.restarts += 1
            time.sleep(RESTART_S)
            stack = up(state, options.effort)
        next(dropper.growing, None)
        meter.sample()
        time.sleep(TICK_S)

    try:
        while time.monotonic() < end:
            if time.monotonic() >= next_drop:
                next_drop += options.every
                dropper.good()
                state.log(f"dropped {state.drops[-1].name} to {state.drops[-1].role}")
                calm = len(state.drops) <= FIRST_LEARNED or state.random.random() < CALM_SHARE
                wanted = None if calm else state.random.choice([*KILLS, *FILES])
                if wanted in FILES:
                    dropper.fault(wanted)
                    state.done[wanted] += 1
                    state.log(wanted)
                    wanted = None
            if wanted and kill(home, KILLS[wanted]):
                state.done[wanted] += 1
                state.log(wanted)
                wanted = None
            tend()
        state.log("nothing more is dropped or killed")
        stopped, quiet, lost = time.monotonic(), 0, ["nothing was looked at"]
        while quiet < 3 and time.monotonic() < stopped + 60 * options.settle:
            until = time.monotonic() + SAMPLE_S
            while time.monotonic() < until:
                tend()
            lost = missing(state, instance)
            quiet = 0 if lost else quiet + 1
            state.log(f"{len(lost)} things to do, {'; '.join(lost[:3])}" if lost else "at rest")
        settled_s = time.monotonic() - stopped
    finally:
        stop(state, stack)
    print(summary(state, instance, lost, settled_s))
    return 1 if lost else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between drops")
    parser.add_argument("--settle", type=float, default=20.0, help="minutes to come to rest")
    parser.add_argument("--videos", type=Path, help="folder of videos to cut from")
    parser.add_argument("--home", type=Path, help="keep the home here, to look at it")
    parser.add_argument("--effort", type=float, default=0.3, help="share of the preset `quick`")
    parser.add_argument("--seed", type=int, default=0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # stops the stack, too
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(soak(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
