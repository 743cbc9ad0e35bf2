"""How fast a live session speaks while it learns, and whether it stays as small as it was.

    python benchmarks/live.py BENCH [--minutes 60] [--home HOME] [--preset aela1] [--effort 1.0]

BENCH is a folder of labelled videos as `benchmarks/bench.py` describes it. The home is one that
speaks (`aela learn BENCH/train --home HOME`); it is copied. `aela live` runs on the copy in a
process of its own, with its daemon and trainings, which are due all the time: everything that is
shown is learned from at once. A page that is none shows it the test videos at their own speed over
and over, ten pictures a second with their sound, and measures:

- from a picture to the word: from sending the picture that made it speak to being told to play the
  sound, which it holds by then; plus half the time between two pictures, for what happened in front
  of the camera just after a picture was taken;
- from the first picture of a thing to its word, as a person would measure it: the thing has to be
  turned to the camera first, and two looks must agree;
- what was dropped, what waits to be looked at by capture, and the resident memory of the process.

Prints Markdown. Needs Linux, whose `/proc` tells the memory.
"""

import argparse
import asyncio
import io
import json
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import websockets
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame

PICTURES_PER_S = 10
RATE_HZ = 48_000
SOUND_SAMPLES = 1920  # 40 ms
SAMPLE_S = 10.0
PAUSED_S = 3.0
SETTLED_S = 60.0  # then the generation is loaded, and memory is compared with what it is by then
ALWAYS_DUE = {"AELA_NEW_FRAMES": "1", "AELA_NEW_CLIPS": "1", "AELA_GATHER_S": "0"}


@dataclass
class Seen:
    """What the page has measured. Times by time.monotonic()."""

    begun: float = 0.0
    sent: dict[float, float] = field(default_factory=dict)  # when a picture was sent, by its stamp
    looks: list[float] = field(default_factory=list)
    sayings: list[float] = field(default_factory=list)
    said_at: list[float] = field(default_factory=list)  # stamps
    pongs: list[float] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    late: list[float] = field(default_factory=list)  # how late the page itself was to send
    resident: list[tuple[float, int]] = field(default_factory=list)
    shown: list[tuple[float, float]] = field(default_factory=list)  # stamps of things, start, end


def pieces(video: Path) -> Iterator[tuple[float, bytes]]:
    """Pictures and sound of a video as messages of a page without stamps; seconds and message."""
    resampler = AudioResampler("s16", "mono", RATE_HZ, frame_size=SOUND_SAMPLES)
    next_s = 0.0
    with av.open(str(video)) as container:
        for frame in container.decode(*container.streams.video[:1], *container.streams.audio[:1]):
            if frame.time is None:
                continue
            if isinstance(frame, VideoFrame):
                if frame.time >= next_s:
                    next_s += 1 / PICTURES_PER_S
                    file = io.BytesIO()
                    frame.to_image().save(file, "JPEG", quality=80)
                    yield frame.time, b"\x01" + file.getvalue()
                continue
            for part in resampler.resample(frame):
                yield part.time or 0.0, b"\x02" + part.to_ndarray().astype("<i2").tobytes()


def message(stamp_s: float, piece: bytes) -> bytes:
    if piece[0] == 1:
        return struct.pack("<Bd", 1, stamp_s) + piece[1:]
    return struct.pack("<BdI", 2, stamp_s, RATE_HZ) + piece[1:]


async def show(page: Any, seen: Seen, bench: Path, end: float) -> None:
    """Show the test videos until the end."""
    labels = json.loads((bench / "labels.json").read_text())
    tests = [video for video in labels["videos"] if video["file"].startswith("test/")]
    await page.send(json.dumps({"type": "begin"}))
    while time.monotonic() < end:
        for video in tests:
            begun = time.monotonic()
            known = [s for s in video["segments"] if s.get("kind", "known") == "known"]
            seen.shown += [(begun + s["start"], begun + s["end"]) for s in known]
            for time_s, piece in pieces(bench / video["file"]):
                due = begun + time_s
                if due > end:
                    return
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if time.monotonic() - due > PAUSED_S:  # The machine stood still; so did the film.
                    begun += time.monotonic() - due
                    due = begun + time_s
                if piece[0] == 1:
                    seen.late.append(time.monotonic() - due)
                    seen.sent[due] = time.monotonic()
                await page.send(message(due, piece))


async def listen(page: Any, seen: Seen) -> None:
    async for data in page:
        now = time.monotonic()
        if isinstance(data, bytes):
            continue
        told = json.loads(data)
        match told["type"]:
            case "look" if told["at_s"] in seen.sent:
                seen.looks.append(now - seen.sent[told["at_s"]])
            case "say":
                seen.sayings.append(now - seen.sent[told["at_s"]] + 0.5 / PICTURES_PER_S)
                seen.said_at.append(told["at_s"])
            case "pong":
                seen.pongs.append(now - told["at_s"])
            case "state":
                seen.states.append(told)


async def sample(page: Any, seen: Seen, pid: int) -> None:
    while True:
        await page.send(json.dumps({"type": "ping", "at_s": time.monotonic()}))
        status = Path(f"/proc/{pid}/status").read_text()
        kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        seen.resident.append((time.monotonic(), int(kilobytes.split()[1]) << 10))
        await asyncio.sleep(SAMPLE_S)


async def visit(port: int, pid: int, bench: Path, minutes: float) -> Seen:
    seen = Seen()
    origin = f"http://127.0.0.1:{port}"
    address = f"ws://127.0.0.1:{port}/live"
    async with websockets.connect(address, origin=origin, max_size=None) as page:
        others = [asyncio.create_task(listen(page, seen))]
        while not (seen.states and seen.states[-1]["threshold"] is not None):
            await asyncio.sleep(0.5)  # until the generation is loaded
        others.append(asyncio.create_task(sample(page, seen, pid)))
        seen.begun = time.monotonic()
        await show(page, seen, bench, seen.begun + 60 * minutes)
        await asyncio.sleep(2)
        for other in others:
            other.cancel()
    return seen


def share(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def milliseconds(name: str, values: list[float]) -> str:
    if not values:
        return f"| {name} | – | – | – | 0 |"
    shown = (share(values, part) for part in (0.5, 0.95, 1.0))
    return f"| {name} | {' | '.join(f'{1000 * v:.0f}' for v in shown)} | {len(values)} |"


def first_words(seen: Seen) -> list[float]:
    """From the first picture of a known thing to being told its first word."""
    found = []
    for start, end in seen.shown:
        said = [at for at in seen.said_at if start <= at < end]
        if said:
            number = seen.said_at.index(said[0])
            found.append(said[0] + seen.sayings[number] - 0.5 / PICTURES_PER_S - start)
    return found


def report(seen: Seen) -> None:
    first, last = seen.states[0], seen.states[-1]
    training = [any(m.get("share") is not None for m in s["training"]) for s in seen.states]
    generations = {s["generation"]["sha"] for s in seen.states if s["generation"]}
    settled = [size for at, size in seen.resident if at - seen.begun >= SETTLED_S]
    waiting = [state["waiting"] for state in seen.states]
    half = len(waiting) // 2
    print(
        f"{(time.monotonic() - seen.begun) / 60:.0f} minutes, {len(seen.sent)} pictures shown, "
        f"{os.cpu_count()} processor cores; something was being trained in "
        f"{statistics.mean(training):.0%} of the time, and {len(generations)} generations spoke.\n"
    )
    print("| ms | p50 | p95 | most | times |\n|---|---|---|---|---|")
    print(milliseconds("from a picture to the word", seen.sayings))
    print(milliseconds("from the first picture of a known thing to its word", first_words(seen)))
    print(milliseconds("from a picture to what it makes of it", seen.looks))
    print(milliseconds("a message there and back", seen.pongs))
    print(milliseconds("the page itself was late to send", seen.late))
    print("\n| | |\n|---|---|")
    dropped = last["dropped"]
    left_out = dropped["pictures"] / max(1, len(seen.sent))
    print(f"| pictures not looked at at once | {dropped['pictures']} ({left_out:.1%}) |")
    print(f"| sound that capture dropped | {dropped['sound_s']} s |")
    print(
        f"| packets that waited for capture, median of first and second half, most | "
        f"{statistics.median(waiting[:half]):.0f}, {statistics.median(waiting[half:]):.0f}, "
        f"{max(waiting)} |"
    )
    remembered = last["memory"]["videos"] - first["memory"]["videos"]
    print(f"| minutes remembered | {remembered} |")
    if settled:
        steps = [settled[round(n * (len(settled) - 1) / 10)] >> 20 for n in range(11)]
        shown = ", ".join(map(str, steps))
        print(f"| resident memory after a minute, and then in ten equal steps, MiB | {shown} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--preset", default="aela1")
    parser.add_argument("--effort", default="1.0")
    options = parser.parse_args()
    command = [sys.executable, "-m", "aela_dagster.cli"]
    how = ["--preset", options.preset, "--effort", options.effort, "--device", "cpu"]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        if options.home:
            shutil.copytree(options.home, home)
            shutil.rmtree(home / "dagster", ignore_errors=True)
        else:
            train = str(options.bench / "train")
            subprocess.run([*command, "learn", train, "--home", str(home), *how], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        env = {**os.environ, **ALWAYS_DUE, "AELA_HOME": str(home)}
        env.pop("DAGSTER_HOME", None)
        server = subprocess.Popen(
            [*command, "live", "--port", str(port), *how], env=env, stdout=sys.stderr
        )
        try:
            wait_for(port, server)
            seen = asyncio.run(visit(port, server.pid, options.bench, options.minutes))
        finally:
            server.send_signal(signal.SIGINT)
            ended = server.wait(180)
        report(seen)
        print(f"| ended in order | {'yes' if ended == 0 else f'no ({ended})'} |")


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("aela live did not start; what it said is above.")


if __name__ == "__main__":
    main()
