"""Speed and memory of the capture, beside straightforward ways to do less.

    python benchmarks/capture_speed.py

Makes videos on the spot: a textured scene under a hand-held camera, H.264 with a spoken-like sound
track. For each, in turns: AELA's whole ingest (hashing, copying, decoding, choosing frames, finding
words, writing Parquet files); a plain pass with moviepy (`iter_frames` at 1 fps, and all of the
sound); and `ffmpeg -skip_frame nokey`, which only decodes the key pictures and keeps nothing.
Prints the best of some rounds as Markdown, and the peak memory of ingesting three minutes and three
hours.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from av.video.frame import VideoFrame
from moviepy import VideoFileClip
from upath import UPath

from aela.capture import SAMPLE_RATE_HZ, capture
from aela.memory import store, videos
from aela.storage import Home

ROUNDS = 3
# Name, width, height, pictures per second, pictures from one key picture to the next, seconds.
VIDEOS = (
    ("1080p30, a key picture every 0.5 s", 1920, 1080, 30, 15, 20),
    ("1080p30, every 2 s", 1920, 1080, 30, 60, 20),
    ("1080p30, every 8 s", 1920, 1080, 30, 250, 20),
    ("480p30, every 2 s", 640, 480, 30, 60, 40),
)
SHORT_S, COPIES = 180, 60  # of the videos whose ingest's memory is measured
GAP_S = Fraction(1, 2)
# Linux's own count: what `resource` tells begins with the memory of the parent process.
PEAK = """
import sys
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
from capture_speed import ingest
ingest(Path({path!r}))
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def make_video(path: Path, width: int, height: int, fps: int, group: int, seconds: int) -> None:
    """A textured scene under a hand-held camera, with a syllable every two seconds."""
    rng = np.random.default_rng(0)
    wide, high = round(width * 7 / 6), round(height * 7 / 6)
    coarse = VideoFrame.from_ndarray(rng.integers(0, 256, (45, 80, 3), np.uint8), "rgb24")
    scene = coarse.reformat(wide, high, interpolation="BICUBIC").to_ndarray()
    canvas = np.clip(scene + rng.normal(0, 12, (high, wide, 1)), 0, 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "g": str(group)}
        picture = container.add_stream("libx264", rate=fps, options=options)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        for number in range(fps * seconds):
            x = round((wide - width) / 2 * (1 + np.sin(number / 40)))
            y = round((high - height) / 2 * (1 + np.sin(number / 27)))
            view = np.ascontiguousarray(canvas[y : y + height, x : x + width])
            container.mux(picture.encode(VideoFrame.from_ndarray(view, "rgb24")))
        container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(_syllables(seconds)[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, 0, Fraction(1, 44_100)
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


def _syllables(seconds: int) -> np.ndarray:
    """Half a second of a gliding voice every two seconds over faint noise, float32 [n]."""
    rng = np.random.default_rng(0)
    t = np.arange(SAMPLE_RATE_HZ * seconds) / SAMPLE_RATE_HZ
    pitch = np.cumsum(120 + 30 * np.sin(2 * np.pi * t)) / SAMPLE_RATE_HZ
    voice = sum(np.sin(2 * np.pi * h * pitch) / h for h in range(1, 20))
    spoken = np.clip(np.sin(np.pi * (t % 2 - 1) / 0.5), 0, 1) * ((t % 2 > 1) & (t % 2 < 1.5))
    return (0.1 * spoken * voice + rng.normal(0, 0.001, len(t))).astype(np.float32)


def repeated(path: Path, copies: int, into: Path) -> None:
    """The same video over and over in one file, not encoded again, with short gaps."""
    with av.open(str(into), "w") as target:
        streams = {}
        with av.open(str(path)) as source:
            for stream in source.streams:
                streams[stream.index] = target.add_stream_from_template(stream)
            length_s = Fraction(source.duration or 0, av.time_base) + GAP_S
        for copy in range(copies):
            with av.open(str(path)) as source:
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(copy * length_s / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = streams[packet.stream.index]
                    target.mux(packet)


def ingest(path: Path) -> None:
    """Remember a video in a home of its own."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        home = Home.at(folder)
        video = videos.take_in(home, UPath(path), "learn", move=False)
        remembered = store.remember(home, video, capture(path, None))
        assert remembered.frames, f"No frame was kept of {path}."


def moviepy_pass(path: Path) -> None:
    """Every frame at 1 fps, and all of the sound."""
    with VideoFileClip(str(path)) as clip:
        for _ in clip.iter_frames(fps=1):
            pass
        clip.audio.to_soundarray(fps=SAMPLE_RATE_HZ)


def key_pictures(path: Path) -> None:
    """Decode the key pictures and throw them away."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-skip_frame", "nokey"]
    subprocess.run([*command, "-i", str(path), "-an", "-f", "null", "-"], check=True)


def seconds_for(do: Callable[[Path], None], path: Path) -> float:
    start = time.perf_counter()
    do(path)
    return time.perf_counter() - start


def print_speed() -> None:
    """Times each video and prints a table."""
    print(f"Speed of the whole ingest on {os.cpu_count()} cores, best of {ROUNDS} rounds:\n")
    print(
        "| video | times real time | plain moviepy pass | AELA is | key pictures alone | AELA is |"
    )
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, width, height, fps, group, seconds) in enumerate(VIDEOS):
            path = Path(folder) / f"{number}.mp4"
            make_video(path, width, height, fps, group, seconds)
            ways = (ingest, moviepy_pass, key_pictures)
            rounds = [[seconds_for(way, path) for way in ways] for _ in range(ROUNDS)]
            ours, plain, keys = (min(times) for times in zip(*rounds, strict=True))
            print(
                f"| {name} | **{seconds / ours:.1f}** | {seconds / plain:.1f} | "
                f"{plain / ours:.1f} × | {seconds / keys:.1f} | {keys / ours:.2f} × |",
                flush=True,
            )


def print_memory() -> None:
    """The peak memory of ingesting a short and a long video, each in a process of its own."""
    if not Path("/proc/self/status").exists():
        print("\nPeak memory is measured on Linux only.")
        return
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.mp4", Path(folder) / "long.mp4"
        make_video(short, 320, 240, 10, 20, SHORT_S)
        repeated(short, COPIES, long)
        peaks = [_peak_mb(path) for path in (short, long)]
    hours = SHORT_S * COPIES / 3600
    print(
        f"\nPeak memory: {peaks[0]:.0f} MiB for {SHORT_S / 60:g} minutes, {peaks[1]:.0f} MiB for "
        f"{hours:g} hours ({peaks[1] - peaks[0]:+.0f} MiB)."
    )


def _peak_mb(path: Path) -> float:
    code = PEAK.format(benchmarks=str(Path(__file__).parent), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


if __name__ == "__main__":
    argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0]).parse_args()
    print_speed()
    print_memory()
