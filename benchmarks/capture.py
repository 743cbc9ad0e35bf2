"""Quality and speed of the capture.

    python benchmarks/capture.py BENCH_FOLDER

BENCH_FOLDER holds a `labels.json` with, for each video, `file`, `utterances` ({start, end}),
`disturbances` and `blur_intervals`, in seconds. First prints how well words are found (a clip and
an utterance match when they overlap; each utterance counts once, further clips on it are wrong),
how well frames are chosen at 1 fps, and how fast that went; then the speed on a 1080p30 H.264
video made on the spot.
"""

import argparse
import json
import os
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from aela.capture import CaptureSettings, Clip, Frame, Rejection, capture

SPEED_VIDEO_S = 20


def score_video(folder: Path, labels: dict) -> Counter:
    """Sums over one video of everything that is counted."""
    counts: Counter = Counter()
    kept = list(capture(folder / labels["file"], CaptureSettings()))
    utterances = labels["utterances"]
    found: set[int] = set()
    for clip in (item for item in kept if isinstance(item, Clip)):
        counts["clips"] += 1
        hits = [
            number
            for number, word in enumerate(utterances)
            if min(clip.end_s, word["end"]) > max(clip.start_s, word["start"])
        ]
        new = [number for number in hits if number not in found][:1]
        if not new:
            print(f"    wrong clip in {labels['file']}: {clip.start_s:.2f} to {clip.end_s:.2f} s")
            continue
        found.update(new)
        counts["right clips"] += 1
        word = utterances[new[0]]
        counts["start", round(clip.start_s - word["start"], 3)] += 1
        counts["end", round(clip.end_s - word["end"], 3)] += 1
    counts["utterances"] += len(utterances)
    for number, word in enumerate(utterances):
        if number not in found:
            print(f"    missed in {labels['file']}: {word['start']:.2f} to {word['end']:.2f} s")

    blurred = labels["blur_intervals"]
    for frame in (item for item in kept if isinstance(item, Frame)):
        counts["frames"] += 1
        counts["blurred frames"] += any(start <= frame.time_s <= end for start, end in blurred)
    counts["rejections"] += sum(isinstance(item, Rejection) for item in kept)
    counts["sharp ms"] += round(
        1000 * (labels["duration"] - sum(end - start for start, end in blurred))
    )
    counts["ms"] += round(1000 * labels["duration"])
    return counts


def print_quality(folder: Path) -> None:
    """Scores every labelled video of the folder."""
    labels = json.loads((folder / "labels.json").read_text())
    counts: Counter = Counter()
    started, started_cpu = time.perf_counter(), time.process_time()
    for video in labels["videos"]:
        counts += score_video(folder, video)
    wall_s, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu

    def errors(which: str) -> np.ndarray:
        """Signed errors of one bound in seconds, one per found utterance."""
        return np.repeat(
            [key[1] for key in counts if isinstance(key, tuple) and key[0] == which],
            [n for key, n in counts.items() if isinstance(key, tuple) and key[0] == which],
        )

    starts, ends = errors("start"), errors("end")
    both = np.abs(np.concatenate([starts, ends]))
    seconds = counts["ms"] / 1000
    print(f"{len(labels['videos'])} videos, {seconds:.0f} s, {counts['utterances']} utterances")
    print(f"utterance recall     {counts['right clips'] / counts['utterances']:.1%}")
    print(f"utterance precision  {counts['right clips'] / max(counts['clips'], 1):.1%}")
    print(
        f"boundary error       median {1000 * np.median(both):.0f} ms, "
        f"95th percentile {1000 * np.quantile(both, 0.95):.0f} ms "
        f"(median start {1000 * np.median(starts):+.0f} ms, end {1000 * np.median(ends):+.0f} ms)"
    )
    print(f"kept frames blurred  {counts['blurred frames'] / max(counts['frames'], 1):.1%}")
    print(f"kept per sharp s     {counts['frames'] / (counts['sharp ms'] / 1000):.2f}")
    print(
        f"speed                {seconds / wall_s:.0f}x real time ({seconds / cpu_s:.0f}x CPU time)"
    )


def make_speed_video(path: Path) -> None:
    """A textured 1920x1080 scene under a hand-held camera, H.264 at 30 fps, with a tone track."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (45, 80, 3), np.uint8)
    scene = VideoFrame.from_ndarray(coarse, "rgb24").reformat(2240, 1260, interpolation="BICUBIC")
    grain = rng.normal(0, 12, (1260, 2240, 1))
    canvas = np.clip(scene.to_ndarray() + grain, 0, 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        picture.width, picture.height, picture.pix_fmt = 1920, 1080, "yuv420p"
        sound = container.add_stream("aac", rate=44_100, layout="mono")
        for number in range(30 * SPEED_VIDEO_S):
            x = round(160 + 150 * np.sin(number / 40))
            y = round(90 + 80 * np.sin(number / 27))
            view = np.ascontiguousarray(canvas[y : y + 1080, x : x + 1920])
            container.mux(picture.encode(VideoFrame.from_ndarray(view, "rgb24")))
        tone = 0.1 * np.sin(np.arange(44_100 * SPEED_VIDEO_S) * 0.05)[None].astype(np.float32)
        piece = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
        piece.sample_rate, piece.pts, piece.time_base = 44_100, 0, Fraction(1, 44_100)
        container.mux(sound.encode(piece))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))


def print_speed() -> None:
    """Times the capture of a 1080p30 video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speed.mp4"
        make_speed_video(path)
        started, started_cpu = time.perf_counter(), time.process_time()
        frames = sum(isinstance(item, Frame) for item in capture(path))
        wall_s, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
    print(
        f"1080p30, {SPEED_VIDEO_S} s, {frames} frames kept: {SPEED_VIDEO_S / wall_s:.1f}x real "
        f"time ({SPEED_VIDEO_S / cpu_s:.1f}x CPU time) on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Quality and speed of the capture.")
    parser.add_argument("bench_folder", type=Path, help="folder with labels.json and the videos")
    print_quality(parser.parse_args().bench_folder)
    print_speed()
