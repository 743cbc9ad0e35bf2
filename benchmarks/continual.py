"""Remembering while growing: videos arrive one after the other, and all models learn with each.

    python benchmarks/continual.py --bench BENCH_FOLDER [--methods rounds newest everything ...]
        [--orders 0 1 2] [--seeds 0 1 2] [--threads 2] [--out FOLDER]
    python benchmarks/continual.py --bench BENCH_FOLDER --report FOLDER

BENCH_FOLDER is told of in `benchmarks/bench.py`. After each video, all things heard of so far are
looked for in the test videos: acc(t, i) is the share of the test segments of thing i that are named
right after video t, silence counting as wrong. Reported are, over all orders and seeds:

- final average: the mean of acc(T, i) over the things,
- forgetting: the mean of best minus final acc of a thing (Chaudhry et al. 2018, section 3),
- backward transfer: the mean of final acc minus acc just after the thing's last video,
- namings until three segments of a thing are named right,
- minutes of training, in all and for a video: those of the processor, so that others on the machine
  do not count.

Methods: `rounds`, what AELA does; `newest`, naive fine-tuning on the newest video alone;
`everything`, all models trained anew on all of memory, which is done after a quarter, half, three
quarters and all of the videos, its cost at the others being drawn between; and `rounds` without one
of its means. Each sequence is one JSON file in --out; those that are there are not run again.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from upath import UPath

from aela.evaluation import score as scores
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import MODELS, Checkpoint
from aela.memory import manifest as manifests
from aela.memory.manifest import Entry, Manifest
from aela.mimicry.generation import Generation
from aela.mimicry.novelty import memory_threshold
from aela.mimicry.predict import look, write
from aela.mimicry.recall import Mimic
from aela.presets import DEFAULT_PRESET, Preset, preset
from aela.speech.speech import load_speech
from aela.storage import Home, write_json
from aela.trainers import train
from aela.vision.encoder import load_image_encoder
from bench import Bench, remember

SAID_RIGHT = 3  # segments of a thing
CEILING_AT = (0.25, 0.5, 0.75, 1.0)  # of the videos


@dataclass(frozen=True)
class Method:
    """How models learn when a video arrives.

    Attributes:
        change: what is changed in the settings.
        newest: learn from the newest video alone.
        anew: learn all from nothing.
        refreshed: rows that are embedded anew in a round, None for all.
        averaged: whether the image encoder's weights are a running mean.
    """

    change: Callable[[Preset], Preset] = lambda settings: settings
    newest: bool = False
    anew: bool = False
    refreshed: int | None = embeddings.REFRESHED
    averaged: bool = True


def _sight(**values: Any) -> Callable[[Preset], Preset]:
    return lambda settings: dataclasses.replace(
        settings, image_encoder=dataclasses.replace(settings.image_encoder, **values)
    )


def _no_distillation(settings: Preset) -> Preset:
    ears = dataclasses.replace(settings.word_autoencoder, kept=0.0)
    return dataclasses.replace(_sight(kept=0.0)(settings), word_autoencoder=ears)


METHODS = {
    "rounds": Method(),
    "newest": Method(newest=True, refreshed=None),
    "everything": Method(anew=True, refreshed=None),
    "no-distillation": Method(_no_distillation),
    "no-alignment": Method(_sight(aligned=False)),
    "no-running-mean": Method(averaged=False),
    "refreshed-at-once": Method(refreshed=None),
}


class Life:
    """A memory that grows, and the models that learn from it."""

    def __init__(self, home: Home, bench: Bench, method: Method, seed: int) -> None:
        self.home, self.bench, self.method, self.seed = home, bench, method, seed
        self.settings = method.change(preset(DEFAULT_PRESET))
        self.parents: dict[str, Checkpoint] = {}

    def learn(self, entries: list[Entry]) -> Generation:
        """One round: everything that the arrival of the last of some videos makes necessary."""
        home, settings = self.home, self.settings
        manifest = Manifest(tuple(sorted(entries, key=lambda entry: entry.video)))
        seen = Manifest((entries[-1],)) if self.method.newest else manifest
        for one in (manifest, seen):
            manifests.write(home, one)
        refreshed = self.method.refreshed
        shas: dict[str, str] = {}
        for model in MODELS:
            parent = None if self.method.anew else self.parents.get(model)
            checkpoint = train(home, model, seen, settings, seed=self.seed, parent=parent)
            checkpoints.set_current(home, checkpoint)
            self.parents[model], shas[model] = checkpoint, checkpoint.sha
            of = {"parent": checkpoint.card.parent, "most": refreshed}
            if model == "image_encoder":
                encoder = load_image_encoder(home, checkpoint.sha)
                embeddings.refresh(home, checkpoint.sha, manifest, "frame", encoder.embed, **of)
                ground = encoder.embed_ground
                embeddings.refresh(home, checkpoint.sha, manifest, "ground", ground, **of)
            if model == "word_autoencoder":
                ears = load_speech(home, checkpoint.sha)
                embeddings.refresh(home, checkpoint.sha, manifest, "clip", ears.embed, **of)
        mimicry = settings.mimicry
        return Generation(
            **shas,
            pairs=self.parents["associator"].card.inputs["pairs"],
            manifest=manifest.sha,
            threshold=memory_threshold(home, manifest.sha, shas["image_encoder"], mimicry),
        )

    def rights(self, generation: Generation) -> dict[str, list[dict[str, Any]]]:
        """Of each thing, its test segments with whether they are named right."""
        mimic = Mimic.load(self.home, generation, self.settings.mimicry)
        tables = []
        for video in self.bench.watched:
            tables.append(self.home.predictions(video, generation.sha))
            write(look(self.home, video, mimic)[0], tables[-1])
        of: dict[str, list[dict[str, Any]]] = {}
        for row in scores.segments(tables, self.bench.labels):
            if row["kind"] == "known":
                of.setdefault(row["word"], []).append(row)
        return of


def live(bench: Bench, method: Method, order: int, seed: int, folder: Path) -> dict[str, Any]:
    """Let the videos arrive in an order, and tell what is known after each."""
    random = np.random.default_rng(order)
    of_word = {}
    for video in bench.labels["videos"]:
        if video["file"] in bench.keys:
            words = {s["word"] for s in video["segments"] if s.get("word")}
            of_word[bench.keys[video["file"]]] = words.pop() if len(words) == 1 else None
    entries = manifests.of_now(bench.home).entries
    entries = [entries[number] for number in random.permutation(len(entries))]
    home = Home.at(folder)
    for part in ("memory", "videos", "cache"):
        (Path(str(home.root)) / part).symlink_to(Path(str(bench.home.root)) / part)
    life = Life(home, bench, method, seed)
    steps = range(1, len(entries) + 1)
    if method.anew:
        steps = sorted({round(share * len(entries)) for share in CEILING_AT})
    rounds: list[dict[str, Any]] = []
    for t in steps:
        start, wall = time.process_time(), time.monotonic()
        generation = life.learn(entries[:t])
        minutes, seconds = (time.process_time() - start) / 60, time.monotonic() - wall
        heard = {of_word[entry.video] for entry in entries[:t]}
        rights = life.rights(generation)
        accuracy = {
            word: float(np.mean([row["right"] for row in rows]))
            for word, rows in rights.items()
            if word in heard
        }
        forced = {
            word: float(np.mean([row["right_forced"] for row in rows]))
            for word, rows in rights.items()
            if word in heard
        }
        kept = checkpoints.read(home, "image_encoder", generation.image_encoder).card.metrics
        rounds.append(
            {
                "videos": t,
                "word": of_word[entries[t - 1].video],
                "clips": entries[t - 1].clips,
                "minutes": minutes,
                "wall_s": seconds,
                "accuracy": accuracy,
                "forced": forced,
                "kept": kept.get("kept"),
            }
        )
        mean = np.mean(list(accuracy.values()))
        print(
            f"  {t:2d} videos: {mean:4.0%} of {len(accuracy)} things, "
            f"{np.mean(list(forced.values())):4.0%} never silent, {60 * minutes:.0f} s, "
            f"kept {kept.get('kept', 1):.2f}",
            flush=True,
        )
    return {"order": order, "seed": seed, "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS)[:3])
    parser.add_argument("--orders", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/continual"))
    parser.add_argument("--home", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        bench = remember(Home.at(arguments.home or folder), arguments.bench)
        (Path(str(bench.home.root)) / "cache").mkdir(exist_ok=True)
        for seed in arguments.seeds:
            for order in arguments.orders:
                for name in arguments.methods:
                    file = arguments.out / f"{name}-order{order}-seed{seed}.json"
                    if file.exists():
                        continue
                    print(f"{name}, order {order}, seed {seed}", flush=True)
                    with tempfile.TemporaryDirectory() as place:
                        told = live(bench, METHODS[name], order, seed, Path(place))
                    write_json(UPath(file.absolute()), {"method": name, **told})


if __name__ == "__main__":
    main()
