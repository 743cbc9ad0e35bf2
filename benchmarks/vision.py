"""How well the image encoder tells things apart, and how much of that is due to what.

    python benchmarks/vision.py BENCH_FOLDER [--seeds 0 1 2] [--steps N] [--only default plain ...]

BENCH_FOLDER is told of in `benchmarks/bench.py`. Labels only score: an image gets the label of most
of its five nearest remembered frames; a segment is right when most of its frames are. Prints a
Markdown table; spreads are over the seeds.
"""

import argparse
import dataclasses
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from aela.learning.loop import Budget
from aela.memory import manifest as manifests
from aela.memory import store
from aela.mimicry.novelty import novelty
from aela.storage import Home
from aela.vision.encoder import load_image_encoder
from aela.vision.pictures import decode, squeezed
from aela.vision.settings import DEFAULT, ImageEncoderSettings
from aela.vision.train import save_untrained, train_image_encoder
from bench import Known, remember

NEIGHBOURS = 5
NOVELTY_NEIGHBOURS = 4
PLAIN = dataclasses.replace(
    DEFAULT, look="whole", described_by="last stage", second_view_s=0.0, covered=0.0, zoom=0.4
)
TRAINED = {
    "default": DEFAULT,
    # SwAV on the whole frame, then on the thing, without anything of the rest.
    "plain": PLAIN,
    "thing": dataclasses.replace(PLAIN, look="thing", zoom=DEFAULT.zoom),
    "no-arms": dataclasses.replace(DEFAULT, covered=0.0),
    "same-frame": dataclasses.replace(DEFAULT, second_view_s=0.0),
    "no-spread": dataclasses.replace(DEFAULT, described_by="all stages"),
    "last-stage": dataclasses.replace(DEFAULT, described_by="last stage"),
}

Embed = Callable[[pa.Table], np.ndarray]


def score(home: Home, known: dict[str, list[Known | None]], embed: Embed) -> dict[str, float]:
    """Shares of right frames and segments by group, and areas under the curve of novelty."""
    rows: dict[str, tuple[list, list]] = {"learn": ([], []), "watch": ([], [])}
    for entry in store.remembered(home):
        if entry.video not in known:  # a silent one
            continue
        vectors = embed(store.read_frames(home, entry.video))
        for vector, what in zip(vectors, known[entry.video], strict=True):
            if what and not what.blurred:
                role = "learn" if "learn" in entry.roles else "watch"
                rows[role][0].append(vector)
                rows[role][1].append(what)
    memory, things = np.stack(rows["learn"][0]), np.array([w.thing for w in rows["learn"][1]])
    images, whats = np.stack(rows["watch"][0]), rows["watch"][1]
    similarity = images @ memory.T
    nearest = np.argsort(-similarity, axis=1)[:, :NEIGHBOURS]
    frames: dict[str, list[bool]] = {}
    votes: dict[str, tuple[Known, Counter]] = {}
    for row, what in enumerate(whats):
        if what.kind != "known" or not what.scored:
            continue
        ballot: Counter = Counter()
        for column in nearest[row]:
            ballot[things[column]] += similarity[row, column]
        answer = ballot.most_common(1)[0][0]
        frames.setdefault(what.group, []).append(answer == what.thing)
        votes.setdefault(what.segment, (what, Counter()))[1][answer] += 1
    segments: dict[str, list[bool]] = {}
    for what, votes_cast in votes.values():
        right = votes_cast.most_common(1)[0][0] == what.thing
        segments.setdefault(what.group, []).append(right)
    result = {f"{group}: frames": float(np.mean(frames[group])) for group in sorted(frames)}
    result |= {f"{group}: segments": float(np.mean(segments[group])) for group in sorted(segments)}
    nothing = np.zeros((0, memory.shape[1]), np.float32)
    far = novelty(images, memory, nothing, NOVELTY_NEIGHBOURS)
    with_strangers = {what.segment.split()[0] for what in whats if what.kind != "known"}
    compared = np.array([what.segment.split()[0] in with_strangers for what in whats])
    kinds = np.array([what.kind for what in whats])
    strange = sorted(set(kinds[compared]) - {"known"})
    for kind in strange:
        chosen = compared & ((kinds == "known") | (kinds == kind))
        result[f"AUROC {kind}, no ground"] = float(
            roc_auc_score(kinds[chosen] == kind, far[chosen])
        )
    return result


def raw_pixels(frames: pa.Table) -> np.ndarray:
    """The whole frame at 32 x 32."""
    pictures = torch.stack([squeezed(decode(j), 32) for j in frames["jpeg"].to_pylist()])
    return F.normalize((pictures - 0.45).flatten(1), dim=1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description="How well the image encoder tells things apart")
    parser.add_argument("bench", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=DEFAULT.budget.steps)
    parser.add_argument("--only", nargs="+", choices=TRAINED, default=list(TRAINED))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder)
        known = remember(home, arguments.bench).known()
        manifest = manifests.take(home)
        print(f"{manifest.frames} frames in memory, {arguments.steps} steps\n")

        def trained(settings: ImageEncoderSettings, seed: int) -> Embed:
            settings = dataclasses.replace(settings, budget=Budget(steps=arguments.steps))
            checkpoint = train_image_encoder(home, manifest, settings, seed=seed)
            return load_image_encoder(home, checkpoint.sha).embed

        def untrained(settings: ImageEncoderSettings, seed: int) -> Embed:
            start = save_untrained(home, manifest, settings, seed=seed)
            return load_image_encoder(home, start.sha).embed

        makers: dict[str, tuple[Callable[[int], Embed], list[int]]] = {
            "raw pixels": (lambda seed: raw_pixels, [0]),
            "untrained, whole frame": (lambda seed: untrained(PLAIN, seed), arguments.seeds),
            "untrained, thing": (lambda seed: untrained(DEFAULT, seed), arguments.seeds),
        }
        for name in arguments.only:
            settings = TRAINED[name]
            makers[name] = (lambda seed, s=settings: trained(s, seed), arguments.seeds)
        for number, (name, (make, seeds)) in enumerate(makers.items()):
            start = time.monotonic()
            scores = [score(home, known, make(seed)) for seed in seeds]
            seconds = (time.monotonic() - start) / len(seeds)
            if number == 0:
                print("| | " + " | ".join(scores[0]) + " | seconds |")
                print("|---" * (len(scores[0]) + 2) + "|")
            cells = []
            for column in scores[0]:
                values = [100 * s[column] for s in scores]
                spread = f" ± {np.std(values):.0f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.0f}{spread}")
            print(f"| {name} | " + " | ".join(cells) + f" | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
