"""Feeds damaged videos to the capture: it must end soon, within bounds, and with plain words.

    python benchmarks/fuzz_capture.py --files 20000

Small videos of many containers and codecs are made on the spot, then damaged at random: bits
flipped, ends cut off, stretches removed, doubled, swapped, zeroed or replaced, two videos spliced,
numbers in headers made to lie. Each damaged file is probed and captured in a process of its own.
Wrong is: any error but UnreadableVideo, a crash of the decoders, a hang, more memory than allowed,
a frame or clip that cannot be. What went wrong is kept in --out, with the error beside it;
`--seed S --only N` makes file N again. Ends with 1 when anything went wrong.
"""

import argparse
import faulthandler
import json
import math
import os
import random
import re
import resource
import select
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import scipy.signal  # noqa: F401  (loaded once here, not in each process)
from av.video.frame import VideoFrame
from PIL import Image

from aela.capture import Clip, Frame, Rejection, UnreadableVideo, capture, probe

SECONDS, FPS, WIDTH, HEIGHT = 1.2, 10, 96, 64
MOST_BUSY_S = 20  # of processor time; a damaged file that takes longer hangs, whole ones take 0.03
MOST_SECONDS = 200.0  # by the clock, on a machine that may be busy otherwise
MOST_BYTES = 3 << 30  # address space of the process, libraries and threads' stacks included
HEADER = 2048  # bytes; damage falls here more often than elsewhere, at either end of the file

# name: (format, options, picture codec, pixel format, sound codec, sample rate)
SEEDS: dict[str, tuple[str, dict[str, str], str | None, str, str | None, int]] = {
    "h264-aac.mp4": ("mp4", {}, "libx264", "yuv420p", "aac", 44_100),
    "h264-aac-pieces.mp4": (
        "mp4",
        {"movflags": "frag_keyframe+empty_moov"},
        "libx264",
        "yuv420p",
        "aac",
        44_100,
    ),
    "h264-10bit-alac.mov": ("mov", {}, "libx264", "yuv420p10le", "alac", 48_000),
    "hevc-aac.mkv": ("matroska", {}, "libx265", "yuv420p", "aac", 48_000),
    "av1-opus.mp4": ("mp4", {}, "libsvtav1", "yuv420p", "libopus", 48_000),
    "vp8-opus.webm": ("webm", {}, "libvpx", "yuv420p", "libopus", 48_000),
    "vp9-opus.webm": ("webm", {}, "libvpx-vp9", "yuv420p", "libopus", 48_000),
    "ffv1-flac.mkv": ("matroska", {}, "ffv1", "yuv420p", "flac", 44_100),
    "mpeg4-mp3.avi": ("avi", {}, "mpeg4", "yuv420p", "libmp3lame", 44_100),
    "mjpeg-pcm.mov": ("mov", {}, "mjpeg", "yuvj420p", "pcm_s16le", 16_000),
    "mjpeg-adpcm.avi": ("avi", {}, "mjpeg", "yuvj420p", "adpcm_ima_wav", 22_050),
    "prores-pcm.mov": ("mov", {}, "prores", "yuv422p10le", "pcm_s16be", 16_000),
    "h264-aac.ts": ("mpegts", {}, "libx264", "yuv420p", "aac", 44_100),
    "mpeg2-mp2.ts": ("mpegts", {}, "mpeg2video", "yuv420p", "mp2", 44_100),
    "mpeg1-mp2.mpg": ("mpeg", {}, "mpeg1video", "yuv420p", "mp2", 44_100),
    "mpeg2-pcm.mxf": ("mxf", {}, "mpeg2video", "yuv420p", "pcm_s16le", 48_000),
    "flv1-mp3.flv": ("flv", {}, "flv", "yuv420p", "libmp3lame", 44_100),
    "wmv2-wmav2.asf": ("asf", {}, "wmv2", "yuv420p", "wmav2", 44_100),
    "picture.gif": ("gif", {}, "gif", "rgb8", None, 0),
    "picture.h264": ("h264", {}, "libx264", "yuv420p", None, 0),
    "sound.wav": ("wav", {}, None, "", "pcm_s16le", 16_000),
    "sound.flac": ("flac", {}, None, "", "flac", 22_050),
    "sound.mp3": ("mp3", {}, None, "", "libmp3lame", 44_100),
    "sound.aac": ("adts", {}, None, "", "aac", 44_100),
    "sound.ogg": ("ogg", {}, None, "", "libopus", 48_000),
    "sound.aiff": ("aiff", {}, None, "", "pcm_s16be", 16_000),
    "sound.caf": ("caf", {}, None, "", "alac", 22_050),
}


def picture(number: int) -> np.ndarray:
    """A coloured ramp over which a chequered square moves, uint8 RGB [HEIGHT, WIDTH, 3]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    canvas = np.stack([x * 2, y * 3, 255 - x * 2], axis=2)
    left = 4 + 4 * number
    canvas[16:48, left : left + 32] = (
        255 * ((x[16:48, :32] // 4 + y[16:48, :32] // 4) % 2)[..., None]
    )
    return canvas.astype(np.uint8)


def sound(rate_hz: int) -> np.ndarray:
    """A vowel that glides, from 0.3 to 0.9 s, in faint noise; float32 [n]."""
    t = np.arange(round(SECONDS * rate_hz)) / rate_hz
    place = np.clip((t - 0.3) / 0.6, 0, 1)
    phase = 2 * np.pi * np.cumsum(120 + 30 * place) / rate_hz
    vowel = np.zeros_like(t)
    for harmonic in range(1, 40):
        hz = 120 * harmonic
        if hz < rate_hz / 2:
            near = ((hz - 700 + 400 * place) / 120) ** 2, ((hz - 1100 - 900 * place) / 150) ** 2
            vowel += sum(1 / (1 + distance) for distance in near) * np.sin(harmonic * phase)
    vowel *= np.sin(np.pi * place) ** 0.5 / np.abs(vowel).max()
    noise = np.random.default_rng(0).normal(0, 0.001, len(t))
    return (0.4 * vowel + noise).astype(np.float32)


def make_seed(name: str) -> bytes:
    """The whole video of that name."""
    form, options, codec, pixels, sound_codec, rate_hz = SEEDS[name]
    file = BytesIO()
    file.name = name
    with av.open(file, "w", format=form, options=options) as container:
        pictures: Any = None
        sounds: Any = None
        if codec:
            pictures = container.add_stream(codec, rate=25 if form in ("mpeg", "mxf") else FPS)
            pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, pixels
            pictures.codec_context.gop_size = 6
            if codec == "libsvtav1":
                pictures.options = {"preset": "12"}
            if codec == "libx265":
                pictures.options = {"x265-params": "log-level=none:pools=1", "preset": "ultrafast"}
        if sound_codec:
            sounds = container.add_stream(sound_codec, rate=rate_hz, layout="mono")
            sounds.bit_rate = 64_000
        if pictures is not None:
            for number in range(round(SECONDS * FPS)):
                frame = VideoFrame.from_ndarray(picture(number), "rgb24")
                container.mux(pictures.encode(frame.reformat(format=pixels)))
            container.mux(pictures.encode(None))
        if sounds is not None:
            pcm = (sound(rate_hz) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(pcm[None], "s16", "mono")
            frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), 0
            container.mux(sounds.encode(frame))
            container.mux(sounds.encode(None))
    return file.getvalue()


def make_seeds() -> dict[str, bytes]:
    """All whole videos, made in a process of its own: encoders talk and leave threads behind."""
    with tempfile.TemporaryDirectory() as folder:
        if (child := os.fork()) == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                for name in SEEDS:
                    (Path(folder) / name).write_bytes(make_seed(name))
            except BaseException:
                print(traceback.format_exc(), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        return {name: (Path(folder) / name).read_bytes() for name in SEEDS}


# Damage. Each takes the bytes and a random generator and changes the bytes in place.


def _place(data: bytearray, rng: random.Random) -> int:
    """Where to do damage: often in the headers, that is at either end or at a name's side."""
    kind = rng.random()
    if kind < 0.3:
        return rng.randrange(min(HEADER, len(data)))
    if kind < 0.4:
        return len(data) - 1 - rng.randrange(min(HEADER, len(data)))
    if kind < 0.6 and (names := [m.start() for m in re.finditer(rb"[A-Za-z][\w ]{3}", data)]):
        return min(len(data) - 1, max(0, rng.choice(names) + rng.randrange(-8, 12)))
    return rng.randrange(len(data))


def _stretch(data: bytearray, rng: random.Random) -> slice:
    """A stretch of bytes, more often a short one."""
    start = _place(data, rng)
    return slice(start, start + int(math.exp(rng.uniform(0, math.log(len(data))))))


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(int(math.exp(rng.uniform(0, 5)))):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def lie(data: bytearray, rng: random.Random) -> None:
    """Write a number where one may stand: sizes, counts, widths, rates, times."""
    form = rng.choice(["B", "<H", ">H", "<I", ">I", "<Q", ">Q"])
    size, start = struct.calcsize(form), _place(data, rng)
    if start + size > len(data):
        return
    most = (1 << (8 * size)) - 1
    (old,) = struct.unpack_from(form, data, start)
    choices = [0, 1, 2, most, most // 2, most // 2 + 1, old + 1, old - 1, old * 2, old // 2]
    choices += [rng.randrange(most), int(math.exp(rng.uniform(0, math.log(most))))]
    struct.pack_into(form, data, start, rng.choice(choices) & most)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[max(1, _place(data, rng)) :]


def remove(data: bytearray, rng: random.Random) -> None:
    if len(data) > 64:
        del data[_stretch(data, rng)]


def double(data: bytearray, rng: random.Random) -> None:
    piece = _stretch(data, rng)
    data[piece.start : piece.start] = data[piece]


def swap(data: bytearray, rng: random.Random) -> None:
    a, b = sorted((_place(data, rng), _place(data, rng)))
    size = min(b - a, len(data) - b, int(math.exp(rng.uniform(1, 9))))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def zero(data: bytearray, rng: random.Random) -> None:
    piece = _stretch(data, rng)
    data[piece] = bytes(len(data[piece]))


def scramble(data: bytearray, rng: random.Random) -> None:
    piece = _stretch(data, rng)
    data[piece] = rng.randbytes(len(data[piece]))


DAMAGES: list[tuple[Callable[[bytearray, random.Random], None], int]] = [
    (flip, 5),
    (lie, 8),
    (cut, 2),
    (remove, 2),
    (double, 2),
    (swap, 2),
    (zero, 2),
    (scramble, 2),
]


def damaged(seeds: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """The name of the seed, and file `number` made of it."""
    rng = random.Random(f"{seed} {number}")
    name = list(seeds)[number % len(seeds)]
    data = bytearray(seeds[name])
    if rng.random() < 0.1:
        other = seeds[rng.choice(list(seeds))]
        data[_place(data, rng) :] = other[_place(bytearray(other), rng) :]
    kinds, weights = zip(*DAMAGES, strict=True)
    for damage in rng.choices(kinds, weights, k=rng.choice([1, 1, 1, 2, 3, 5, 8])):
        if data:
            damage(data, rng)
    return name, bytes(data)


# Trial of one file


@dataclass
class Outcome:
    """`kind` is "read", "refused" (as unreadable), "error", "crash" or "hang"."""

    kind: str
    text: str = ""
    frames: int = 0
    clips: int = 0
    rejections: int = 0
    busy_s: float = 0.0
    peak_bytes: int = 0

    @property
    def wrong(self) -> bool:
        return self.kind not in ("read", "refused")


def look(path: Path) -> dict[str, Any]:
    """What comes of a file."""
    try:
        probe(path)
        refused = ""
    except UnreadableVideo as error:
        refused = str(error)
    found: Counter = Counter()
    try:
        for sensed in capture(path):
            check(sensed)
            found[type(sensed)] += 1
    except UnreadableVideo as error:
        return {"kind": "refused", "text": str(error)}
    if refused:
        raise AssertionError(f"Captured, but not probed: {refused}")
    counts = {"frames": found[Frame], "clips": found[Clip], "rejections": found[Rejection]}
    return {"kind": "read", **counts}


def check(sensed: Frame | Clip | Rejection) -> None:
    """Whether a frame, clip or rejection can be."""
    if isinstance(sensed, Frame):
        picture = Image.open(BytesIO(sensed.jpeg))
        picture.load()
        assert picture.size == (sensed.width, sensed.height)
        assert math.isfinite(sensed.time_s) and sensed.time_s >= 0 and sensed.sharpness >= 0
    elif isinstance(sensed, Clip):
        assert np.isfinite(sensed.samples).all() and np.abs(sensed.samples).max() <= 1
        assert 0 <= sensed.start_s < sensed.end_s < math.inf
        assert math.isfinite(sensed.level_db) and math.isfinite(sensed.snr_db)
    else:
        assert 0 <= sensed.start_s <= sensed.end_s < math.inf and math.isfinite(sensed.value)


def attempt(path: Path) -> Outcome:
    """Probes and captures a file in a process of its own, within bounds."""
    start = time.monotonic()
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_BUSY_S, MOST_BUSY_S + 1))
        os.dup2(writer, 2)  # what an aborting library says
        faulthandler.enable()
        faulthandler.dump_traceback_later(MOST_SECONDS - 1)
        try:
            result = look(path)
        except BaseException:
            result = {"kind": "error", "text": traceback.format_exc()}
        os.write(writer, b"\0" + json.dumps(result).encode()[:60_000])
        os._exit(0)
    os.close(writer)
    said, hangs = b"", False
    while True:
        left = start + MOST_SECONDS - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            hangs = True
            os.kill(child, signal.SIGKILL)
            break
        if not (piece := os.read(reader, 1 << 16)):
            break
        said += piece
    os.close(reader)
    _, status, usage = os.wait4(child, 0)
    before, _, result = said.partition(b"\0")
    busy_s = usage.ru_utime + usage.ru_stime
    if hangs or busy_s >= MOST_BUSY_S:
        what = f"not done after {time.monotonic() - start:.0f} s, busy for {busy_s:.1f} s"
        outcome = Outcome("hang", f"{before.decode(errors='replace')}\n{what}")
    elif os.WIFSIGNALED(status) or not result:
        end = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"{status}"
        outcome = Outcome("crash", f"{end} {before.decode(errors='replace')}")
    else:
        outcome = Outcome(**json.loads(result))
    outcome.busy_s = busy_s
    outcome.peak_bytes = usage.ru_maxrss * 1024
    return outcome


def table(outcomes: dict[str, list[Outcome]]) -> str:
    """A row per seed and one for all."""
    lines = [
        "| seed | files | read | refused | errors | crashes | hangs | longest busy s | most MB |"
    ]
    lines.append("|---" * 9 + "|")
    for name, those in [*outcomes.items(), ("all", [o for row in outcomes.values() for o in row])]:
        kinds = Counter(outcome.kind for outcome in those)
        counts = [kinds[kind] for kind in ("read", "refused", "error", "crash", "hang")]
        slowest = max((outcome.busy_s for outcome in those), default=0.0)
        most = max((outcome.peak_bytes for outcome in those), default=0) / 1e6
        cells = [name, len(those), *counts, f"{slowest:.2f}", f"{most:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="make and try this one file")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder for what goes wrong")
    parser.add_argument("--json", action="store_true", help="print the sums as JSON")
    args = parser.parse_args()
    seeds = make_seeds()
    outcomes: dict[str, list[Outcome]] = {name: [] for name in seeds}
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name, data in seeds.items():
            path = Path(folder) / name
            path.write_bytes(data)
            whole = attempt(path)
            if whole.kind != "read" or not whole.frames + whole.clips:
                sys.exit(f"The undamaged {name} is not read: {whole}")
        baseline = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for number in range(args.files) if args.only is None else [args.only]:
            name, data = damaged(seeds, args.seed, number)
            path = Path(folder) / f"damaged{Path(name).suffix}"
            path.write_bytes(data)
            outcome = attempt(path)
            outcomes[name].append(outcome)
            if outcome.wrong:
                args.out.mkdir(parents=True, exist_ok=True)
                kept = args.out / f"{outcome.kind}-{args.seed}-{number}-{name}"
                kept.write_bytes(data)
                kept.with_name(kept.name + ".txt").write_text(outcome.text)
                last = outcome.text.strip().splitlines()[-1:] or [""]
                print(f"{kept}: {last[0]}", file=sys.stderr, flush=True)
            if args.only is not None:
                print(outcome)
    everything = [outcome for row in outcomes.values() for outcome in row]
    if args.json:
        sums = Counter(outcome.kind for outcome in everything)
        print(json.dumps({"files": len(everything), **sums}))
    else:
        print(f"{len(everything)} damaged files, seed {args.seed}, {len(seeds)} seeds")
        print(table(outcomes))
        print(f"{time.monotonic() - start:.0f} s; before a file is opened {baseline / 1e6:.0f} MB")
    return int(any(outcome.wrong for outcome in everything))


if __name__ == "__main__":
    sys.exit(main())
