"""How fast spoken videos are made, and how well their pictures and sounds are in step.

    python benchmarks/spoken_video.py [--seconds 60] [--runs 3]

Films a drawn 480p scene with a flash and a beep every two seconds, once as a steady MP4 and once as
Matroska with uneven times between its pictures, lets a made-up generation say a word every three
seconds, and lays its voice over it. Decodes what comes out, and compares when flash, beep and voice
are there. Prints Markdown; times are of the whole making, from file to file.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
from PIL import Image
from upath import UPath

from aela.capture import SAMPLE_RATE_HZ, Clip, Frame
from aela.memory import store
from aela.memory.videos import Video
from aela.mimicry.predict import PREDICTIONS
from aela.mimicry.spoken_video import make_spoken_video
from aela.storage import Home, write_bytes

WIDTH, HEIGHT, FPS = 854, 480, 30
TICKS = 600  # a second, of the uneven times
FLASH_EVERY_S, FLASH_S, WORD_EVERY_S = 2.0, 0.2, 3.0
BEEP_HZ, VOICE_HZ = 1000.0, 3000.0
MEMORY = "remembered-01234567"


def film(path: Path, seconds: int, uneven: bool) -> None:
    """A photograph-like scene that the camera pans over, with the grain of a sensor."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 200, (30, 60, 3), dtype=np.uint8)
    scene = np.asarray(
        Image.fromarray(coarse).resize((2 * WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    )
    grains = random.integers(0, 12, (8, HEIGHT, WIDTH, 1), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.codec_context.time_base = Fraction(1, TICKS)
        sound = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        for number in range(seconds * FPS):
            flash = number % (FLASH_EVERY_S * FPS) < FLASH_S * FPS and number >= FPS
            if uneven and number % (FLASH_EVERY_S * FPS) and random.random() < 0.3:
                continue
            left = round((WIDTH / 2) * (1 + np.sin(number / 90)))
            shown = scene[:, left : left + WIDTH] + grains[number % 8]
            frame = av.VideoFrame.from_ndarray(np.maximum(shown, 255 * flash), format="rgb24")
            frame.pts, frame.time_base = number * TICKS // FPS, Fraction(1, TICKS)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        time_s = np.arange(seconds * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
        on = (time_s % FLASH_EVERY_S < FLASH_S) & (time_s >= 1)
        tone = 0.4 * on * np.sin(2 * np.pi * BEEP_HZ * time_s) + random.normal(0, 1e-3, len(time_s))
        for start in range(0, len(tone), 1024):
            part = tone[None, start : start + 1024].astype(np.float32)
            block = av.AudioFrame.from_ndarray(part, "flt", "mono")
            block.sample_rate, block.pts = SAMPLE_RATE_HZ, start
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))


def remember(home: Home) -> None:
    """One moment to lean on, and the sound of its word."""
    buffer = io.BytesIO()
    Image.new("RGB", (299, 224), (180, 80, 60)).save(buffer, "JPEG")
    views = np.zeros((2, 96, 128, 3), np.uint8)
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE_HZ).astype(np.float32)
    senses = [Frame(0.0, buffer.getvalue(), 299, 224, 1.0, views), Clip(0, 1, noise, 0, -20, 30)]
    store.remember(home, Video(MEMORY, ("learn",), (MEMORY,), None, "", 1, ""), senses)
    time_s = np.arange(SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ
    voice = (0.4 * np.sin(2 * np.pi * VOICE_HZ * time_s)).astype(np.float32)
    write_bytes(home.root / "voice.flac", store.to_flac(voice))


def predictions(seconds: int) -> pa.Table:
    """A look a second; every third one speaks."""
    rows = [
        {
            "time_s": float(second),
            "said": second % WORD_EVERY_S == 0,
            "confidence": 0.8,
            "novelty": 0.2 if second % WORD_EVERY_S == 0 else 0.6,
            "sound": "voice.flac",
            "clip_video": MEMORY,
            "clip_start_s": 0.0,
            "clip_end_s": 1.0,
            "frames": [{"video": MEMORY, "time_s": 0.0, "similarity": 0.9}],
        }
        for second in range(seconds)
    ]
    return pa.Table.from_pylist(rows, schema=PREDICTIONS)


def starts(on: np.ndarray) -> np.ndarray:
    """Where stretches begin."""
    return np.flatnonzero(on & ~np.r_[False, on[:-1]])


def tone_starts_s(samples: np.ndarray, hz: float) -> np.ndarray:
    """When a tone begins, each time, to 2 ms."""
    block = SAMPLE_RATE_HZ // 500
    parts = samples[: len(samples) // block * block].reshape(-1, block)
    wave = np.exp(-2j * np.pi * hz * np.arange(block) / SAMPLE_RATE_HZ)
    loud = np.abs(parts @ wave) / block > 0.05
    found = starts(loud) * block / SAMPLE_RATE_HZ
    return found[np.diff(found, prepend=-1.0) > 0.5]


def watched(path: UPath) -> tuple[np.ndarray, np.ndarray]:
    """When flashes begin, and the samples of one side."""
    times, bright, sound = [], [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            times.append(frame.time)
            bright.append(frame.to_ndarray(format="gray")[: HEIGHT - 8].mean() > 230)
    with av.open(str(path)) as container:
        sound += [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.array(times)[starts(np.array(bright))], np.concatenate(sound)


def apart_ms(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far the nearest of the others is from each."""
    return 1000 * np.abs(one[:, None] - other[None]).min(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="length of the film")
    parser.add_argument("--runs", type=int, default=3, help="how often each video is made")
    arguments = parser.parse_args()
    print(f"{WIDTH} x {HEIGHT} at {FPS} fps, {arguments.seconds} s, {os.cpu_count()} cores\n")
    print(
        "| film | times as fast as real time, median (least to most) | processor seconds a second ",
        end="",
    )
    print("| flash to beep, median and most | voice off by, most |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(Path(folder) / "home")
        remember(home)
        table = predictions(arguments.seconds)
        for name, uneven in (("steady.mp4", False), ("uneven.mkv", True)):
            source, target = Path(folder) / name, UPath(folder) / "spoken.mp4"
            film(source, arguments.seconds, uneven)
            speeds, busy = [], []
            for _ in range(arguments.runs):
                start, before = time.monotonic(), os.times()
                make_spoken_video(source, table, 0.4, home, target, 0.3)
                speeds.append(arguments.seconds / (time.monotonic() - start))
                busy.append((sum(os.times()[:4]) - sum(before[:4])) / arguments.seconds)
            flashes, samples = watched(target)
            steps = apart_ms(flashes, tone_starts_s(samples, BEEP_HZ))
            said = tone_starts_s(samples, VOICE_HZ)
            due = np.arange(0, arguments.seconds, WORD_EVERY_S)
            print(
                f"| {name} | {statistics.median(speeds):.1f} ({min(speeds):.1f} to "
                f"{max(speeds):.1f}) | {statistics.median(busy):.2f} "
                f"| {np.median(steps):.0f} and {steps.max():.0f} ms, of {len(steps)} "
                f"| {apart_ms(due, said).max():.0f} ms, of {len(due)} |"
            )


if __name__ == "__main__":
    main()
