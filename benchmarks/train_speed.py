"""How fast the image encoder trains, beside lightly's SwAV at equal work.

    pip install --no-deps lightly==1.5.22 lightly_utils lightning_utilities aenum
    python benchmarks/train_speed.py [BENCH_FOLDER] [--rounds 3] [--threads 2]

Equal are the network (ResNet18), the batch, the side of the pictures and the number of views (two,
no multi-crop); each brings its own augmentations. Ours decodes the frames once and makes the views
of a batch together; lightly's loop, as in its example, decodes JPEG files and makes views of PIL
pictures one by one, in the process itself or in worker processes. A round is an epoch; the rounds
alternate, so that a noisy machine slows all of them. The frames are those of BENCH_FOLDER's train
videos, or noise of the same size. Prints Markdown: frames per second (medians over the rounds),
how many times as fast as lightly's best (median of the rounds' ratios), and where a step's time
goes. Ours also appears without bfloat16, which it uses where the processor has it.
"""

import argparse
import dataclasses
import io
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from aela.capture import CaptureSettings, Frame, capture
from aela.vision.network import has_bfloat16
from aela.vision.pictures import looked_at
from aela.vision.settings import DEFAULT, ImageEncoderSettings
from aela.vision.train import Frames, Training
from peers import BATCH, SIDE_PX, LightlySwav

STEPS = 4  # a round
BAR = 1.3
DEFAULT_STEPS = 30
EQUAL = dataclasses.replace(
    DEFAULT, look="whole", network="resnet18", input_px=SIDE_PX, batch=BATCH
)
LIGHTLY = "lightly"
MIDDLE_OF_TRAINING = 0.5


class Trainer(Protocol):
    """Makes the views of the next batch, and a gradient step on them."""

    def views(self) -> Any: ...
    def learn(self, views: Any) -> None: ...


class Ours:
    def __init__(self, frames: Frames, settings: ImageEncoderSettings) -> None:
        self.training = Training(frames, settings, seed=0, device="cpu")

    def views(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.training.views()

    def learn(self, views: tuple[torch.Tensor, torch.Tensor]) -> None:
        self.training.learn(*views, MIDDLE_OF_TRAINING)


@dataclass
class Contestant:
    """A trainer, and its seconds per step in each round: whole, and of them for the views."""

    trainer: Trainer
    within: Callable[[], AbstractContextManager] = nullcontext
    seconds: list[float] = field(default_factory=list)
    views_s: list[float] = field(default_factory=list)

    def run(self, steps: int) -> None:
        with self.within():
            waited, start = 0.0, time.perf_counter()
            for _ in range(steps):
                asked = time.perf_counter()
                views = self.trainer.views()
                waited += time.perf_counter() - asked
                self.trainer.learn(views)
            self.seconds.append((time.perf_counter() - start) / steps)
            self.views_s.append(waited / steps)


def filmed(bench: Path, number: int) -> list[bytes]:
    """The first frames of the train videos, as JPEG."""
    jpegs: list[bytes] = []
    for video in sorted((bench / "train").glob("*.mp4")):
        senses = capture(video, CaptureSettings())
        jpegs += [sense.jpeg for sense in senses if isinstance(sense, Frame)]
        if len(jpegs) >= number:
            return jpegs[:number]
    raise SystemExit(f"The train videos of {bench} hold {len(jpegs)} frames; {number} are needed.")


def noise(number: int) -> list[bytes]:
    """JPEG files of 480 x 360 with blurred noise."""
    random, jpegs = np.random.default_rng(0), []
    for _ in range(number):
        coarse = Image.fromarray(random.integers(0, 256, (36, 48, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((480, 360), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        jpegs.append(file.getvalue())
    return jpegs


def as_frames(jpegs: list[bytes], settings: ImageEncoderSettings) -> Frames:
    """As if of one video, a second apart."""
    number = len(jpegs)
    return Frames(
        looked_at(pa.table({"jpeg": jpegs}), settings).numpy(),
        torch.zeros(number, dtype=torch.int64),
        torch.arange(number, dtype=torch.float64),
        old=torch.zeros(number, dtype=torch.bool),
        before=torch.zeros(number, settings.embedding),
        new=number,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the image encoder trains")
    parser.add_argument("bench", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    number = BATCH * STEPS
    jpegs = filmed(arguments.bench, number) if arguments.bench else noise(number)
    start = time.perf_counter()
    frames = as_frames(jpegs, EQUAL)
    loaded_s = time.perf_counter() - start

    def lightly(workers: int) -> Contestant:
        return Contestant(LightlySwav(jpegs, crops=(2, 0), workers=workers))

    contestants = {"AELA": Contestant(Ours(frames, EQUAL))}
    if has_bfloat16(torch.device("cpu")):
        contestants["AELA, all in float32"] = Contestant(
            Ours(frames, EQUAL),
            lambda: patch("aela.vision.network.has_bfloat16", return_value=False),
        )
    contestants[LIGHTLY] = lightly(workers=0)
    contestants[f"{LIGHTLY}, 2 workers"] = lightly(workers=2)
    for _ in range(1 + arguments.rounds):
        for contestant in contestants.values():
            contestant.run(STEPS)
    for contestant in contestants.values():  # the first round warms up
        del contestant.seconds[0], contestant.views_s[0]
    peers = [c.seconds for name, c in contestants.items() if name.startswith(LIGHTLY)]
    best = min(peers, key=statistics.median)

    print(f"{number} frames, batch {BATCH}, {SIDE_PX} px, {arguments.threads} threads\n")
    print("| | frames/s | times lightly's best | s a step | of these, views |")
    print("|---|---|---|---|---|")
    ratios = {}
    for name, contestant in contestants.items():
        seconds = statistics.median(contestant.seconds)
        ratios[name] = statistics.median(
            peer / own for peer, own in zip(best, contestant.seconds, strict=True)
        )
        print(
            f"| {name} | {BATCH / seconds:.0f} | {ratios[name]:.2f} | {seconds:.2f} "
            f"| {statistics.median(contestant.views_s):.2f} |"
        )
    reached = "reached" if ratios["AELA"] >= BAR else "missed"
    print(f"\nAELA trains {ratios['AELA']:.2f} times as fast (bar {BAR}: {reached}); ", end="")
    print(f"it decoded and shrank all frames once, in {loaded_s:.1f} s.")

    usual = dataclasses.replace(DEFAULT, look="whole")
    default = Contestant(Ours(as_frames(jpegs, usual), usual))
    for _ in range(DEFAULT_STEPS):
        default.run(1)
    step_s, views_s = (statistics.median(x) for x in (default.seconds, default.views_s))
    print(
        f"The default settings ({usual.network} network, {usual.input_px} px, batch {usual.batch}) "
        f"make {1 / step_s:.1f} steps/s, {usual.batch / step_s:.0f} frames/s: "
        f"{views_s * 1e3:.0f} of {step_s * 1e3:.0f} ms for the views."
    )


if __name__ == "__main__":
    main()
