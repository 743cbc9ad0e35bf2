"""Remembering while growing: videos arrive one after the other, and all models learn with each.

    python benchmarks/continual.py --bench BENCH_FOLDER [--methods rounds newest everything ...]
        [--orders 0 1 2] [--seeds 0 1 2] [--threads 2] [--out FOLDER]

BENCH_FOLDER is told of in `benchmarks/bench.py`. After each video, all things heard of so far are
looked for in the test videos: acc(t, i) is the share of the test segments of thing i that are named
right after video t, silence counting as wrong. Reported are, over all orders and seeds:

- final average: the mean of acc(T, i) over the things,
- forgetting: the mean over the things of the best acc before the last video minus the final one
  (Chaudhry et al. 2018, section 3); and the same of what it would say were it never silent,
- backward transfer: the mean of final acc minus acc just after the thing's last video,
- namings until three segments of a thing are named right,
- minutes of training, in all and for a video: those of the processor, so that others on the machine
  do not count.

Methods: `rounds`, what AELA does; `newest`, naive fine-tuning on the newest video alone;
`everything`, all models trained anew on all of memory, which is done after a quarter, half, three
quarters and all of the videos, its cost at the others being drawn between; and `rounds` without one
of its means: no replay of what is old, no distillation from the parent, embeddings not aligned with
the parent's, no running mean of the image encoder's weights, or all embeddings refreshed at once;
or with a memory bounded to KEPT_FRAMES, of which an even sample is kept (`bounded`) or the newest
(`bounded-newest`). In these each new generation speaks, so that they show what learning does; with
`gated`, or `-gated` behind the others' names, only those speak that the gate lets pass. Each
sequence is one JSON file in --out; those that are there are not run again. From all in --out a
table is made and printed, and a picture.
"""

import argparse
import dataclasses
import io
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from upath import UPath

from aela.evaluation import score as scores
from aela.evaluation.labels import Labels
from aela.learning import checkpoints, embeddings, rounds
from aela.learning.checkpoints import MODELS, Checkpoint
from aela.memory import bounded
from aela.memory import manifest as manifests
from aela.memory.manifest import Entry, Manifest
from aela.mimicry.gate import judge
from aela.mimicry.generation import Generation
from aela.mimicry.novelty import memory_threshold
from aela.mimicry.predict import look, write
from aela.mimicry.recall import Mimic
from aela.presets import DEFAULT_PRESET, Preset, preset
from aela.speech.speech import load_speech
from aela.storage import Home, write_bytes, write_json
from aela.trainers import train
from aela.vision.encoder import load_image_encoder
from bench import Bench, remember

mpl.use("agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

SAID_RIGHT = 3  # segments of a thing
KEPT_FRAMES = 200  # of a bounded memory: a third of all
CEILING_AT = (0.25, 0.5, 0.75, 1.0)  # of the videos


@dataclass(frozen=True)
class Method:
    """How models learn when a video arrives.

    Attributes:
        change: what is changed in the settings.
        newest: learn from the newest video alone.
        anew: learn all from nothing.
        refreshed: rows that are embedded anew in a round, None for all.
        kept: what of the videos so far, newest first, is remembered.
        gated: a generation speaks only if the gate lets it.
    """

    change: Callable[[Preset], Preset] = lambda settings: settings
    newest: bool = False
    anew: bool = False
    refreshed: int | None = embeddings.REFRESHED
    kept: Callable[[list[Entry]], list[Entry]] = lambda entries: entries
    gated: bool = False


def _sight(**values: Any) -> Callable[[Preset], Preset]:
    return lambda settings: dataclasses.replace(
        settings, image_encoder=dataclasses.replace(settings.image_encoder, **values)
    )


def _no_distillation(settings: Preset) -> Preset:
    ears = dataclasses.replace(settings.word_autoencoder, kept=0.0)
    return dataclasses.replace(_sight(kept=0.0)(settings), word_autoencoder=ears)


def _no_replay(settings: Preset) -> Preset:
    parts = {
        name: dataclasses.replace(getattr(settings, name), replayed=0)
        for name in ("image_encoder", "mel_autoencoder", "word_autoencoder", "associator")
    }
    return dataclasses.replace(settings, **parts)


def _newest(entries: list[Entry]) -> list[Entry]:
    frames = np.cumsum([entry.frames for entry in entries])
    return entries[: max(1, int((frames <= KEPT_FRAMES).sum()))]


METHODS = {
    "rounds": Method(),
    "newest": Method(newest=True, refreshed=None),
    "everything": Method(anew=True, refreshed=None),
    "bounded": Method(kept=lambda entries: bounded.kept(entries, KEPT_FRAMES, math.inf)),
    "bounded-newest": Method(kept=lambda entries: _newest(entries)),
    "no-distillation": Method(_no_distillation),
    "no-alignment": Method(_sight(aligned=False)),
    "no-average": Method(_sight(averaged=1)),
    "no-replay": Method(_no_replay),
    "refreshed-at-once": Method(refreshed=None),
    "gated": Method(gated=True),
    "no-alignment-gated": Method(_sight(aligned=False), gated=True),
    "no-replay-gated": Method(_no_replay, gated=True),
}


class Life:
    """A memory that grows, and the models that learn from it."""

    def __init__(self, home: Home, bench: Bench, method: Method, seed: int) -> None:
        self.home, self.bench, self.method, self.seed = home, bench, method, seed
        self.settings = method.change(preset(DEFAULT_PRESET))
        self.parents: dict[str, Checkpoint] = {}
        self.speaking: Generation | None = None
        self.refused = False

    def learn(self, entries: list[Entry]) -> Generation:
        """One round: everything that the arrival of the last of some videos makes necessary.

        Returns the generation that speaks then.
        """
        home, settings = self.home, self.settings
        kept = self.method.kept(entries[::-1])
        manifest = Manifest(tuple(sorted(kept, key=lambda entry: entry.video)))
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
            # Without turning, they are taken over all the same: that is what is left out.
            parent = rounds.takes_over_from(checkpoint)
            taken = parent if settings.image_encoder.aligned else checkpoint.card.parent
            of = {"parent": taken, "most": refreshed}
            if model == "image_encoder":
                encoder = load_image_encoder(home, checkpoint.sha)
                embeddings.refresh(home, checkpoint.sha, manifest, "frame", encoder.embed, **of)
                ground = encoder.embed_ground
                embeddings.refresh(home, checkpoint.sha, manifest, "ground", ground, **of)
            if model == "word_autoencoder":
                ears = load_speech(home, checkpoint.sha)
                embeddings.refresh(home, checkpoint.sha, manifest, "clip", ears.embed, **of)
        mimicry = settings.mimicry
        new = Generation(
            **shas,
            pairs=self.parents["associator"].card.inputs["pairs"],
            manifest=manifest.sha,
            threshold=memory_threshold(home, manifest.sha, shas["image_encoder"], mimicry),
        )
        self.refused = self.method.gated and not judge(home, self.speaking, new).passed
        if self.speaking is None or not self.refused:
            self.speaking = new
        return self.speaking

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
                "refused": life.refused,
            }
        )
        mean = np.mean(list(accuracy.values()))
        print(
            f"  {t:2d} videos: {mean:4.0%} of {len(accuracy)} things, "
            f"{np.mean(list(forced.values())):4.0%} never silent, {60 * minutes:.0f} s, "
            f"kept {kept.get('kept', 1):.2f}{', refused' if life.refused else ''}",
            flush=True,
        )
    return {"order": order, "seed": seed, "rounds": rounds}


def figures(told: dict[str, Any]) -> dict[str, float]:
    """What one sequence comes to."""
    rounds = told["rounds"]
    last, words = rounds[-1]["accuracy"], sorted(rounds[-1]["accuracy"])
    videos = rounds[-1]["videos"]
    at = [0, *(r["videos"] for r in rounds)]
    minutes = np.interp(range(1, videos + 1), at, [0.0, *(r["minutes"] for r in rounds)])
    found = {
        "final average": float(np.mean([last[word] for word in words])),
        "never silent": float(np.mean(list(rounds[-1]["forced"].values()))),
        "minutes in all": float(minutes.sum()),
        "minutes a video": float(minutes.mean()),
    }
    if METHODS[told["method"]].gated:
        found["generations refused"] = float(sum(one["refused"] for one in rounds))
    if len(rounds) == videos:
        after = {r["word"]: r["accuracy"][r["word"]] for r in rounds}
        namings = [_namings(rounds, word) for word in words]
        found["forgetting"] = _forgetting(rounds, "accuracy")
        found["forgetting, never silent"] = _forgetting(rounds, "forced")
        found["backward transfer"] = float(np.mean([last[w] - after[w] for w in words]))
        found["right after the first video"] = float(
            np.mean([_after_first(rounds, word) for word in words])
        )
        found["namings until right"] = statistics.median(namings)
        found["never right"] = float(np.mean(np.isinf(namings)))
    return found


def _forgetting(rounds: list[dict[str, Any]], kind: str) -> float:
    """How much better the things were named at best, before the last video, than in the end."""
    last = rounds[-1][kind]
    return float(np.mean([max(r[kind].get(w, 0) for r in rounds[:-1]) - last[w] for w in last]))


def _after_first(rounds: list[dict[str, Any]], word: str) -> float:
    return next(r["accuracy"][word] for r in rounds if word in r["accuracy"])


def _namings(rounds: list[dict[str, Any]], word: str) -> float:
    """How often the word was heard until SAID_RIGHT segments of its thing were named right."""
    heard, share = 0, SAID_RIGHT / 4
    for one in rounds:
        heard += one["clips"] if one["word"] == word else 0
        if one["accuracy"].get(word, 0) >= share:
            return heard
    return float("inf")


ROWS = {
    "final average": "{:.0%}",
    "never silent": "{:.0%}",
    "forgetting": "{:+.1%}",
    "forgetting, never silent": "{:+.1%}",
    "backward transfer": "{:+.1%}",
    "right after the first video": "{:.0%}",
    "namings until right": "{:.0f}",
    "never right": "{:.0%}",
    "minutes in all": "{:.1f}",
    "minutes a video": "{:.2f}",
    "generations refused": "{:.0f}",
}


def report(folder: Path, chance: float) -> str:
    """A table of all sequences in a folder, as Markdown; a picture of them lies beside it."""
    told: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.json")):
        one = json.loads(file.read_text())
        told.setdefault(one["method"], []).append(one)
    names = [name for name in METHODS if name in told]
    lines = ["# Remembering while growing", "", "`python benchmarks/continual.py --bench BENCH`"]
    lines += ["", f"Medians over the sequences, least to most; chance is {chance:.0%}.", ""]
    lines += ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines.append("| sequences | " + " | ".join(str(len(told[name])) for name in names) + " |")
    found = {name: [figures(one) for one in told[name]] for name in names}
    for row, form in ROWS.items():
        cells = []
        for name in names:
            values = [one[row] for one in found[name] if row in one]
            if not values:
                cells.append("–")
                continue
            median, low, high = statistics.median(values), min(values), max(values)
            spread = f" ({form.format(low)} to {form.format(high)})" if len(values) > 1 else ""
            cells.append(form.format(median) + spread)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    text = "\n".join([*lines, ""])
    where = UPath(folder.absolute())
    write_bytes(where / "continual.md", text.encode())
    write_bytes(where / "continual.png", _picture({name: told[name] for name in names}, chance))
    return text


def _picture(told: dict[str, list[dict[str, Any]]], chance: float) -> bytes:
    """Share of the test segments of all things heard so far that are right, by videos."""
    figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for name in ("rounds", "newest", "everything"):
        for number, one in enumerate(told.get(name, [])):
            color = {"rounds": "C0", "newest": "C3", "everything": "C2"}[name]
            videos = [r["videos"] for r in one["rounds"]]
            right = [100 * np.mean(list(r["accuracy"].values())) for r in one["rounds"]]
            marker = "o" if name == "everything" else None
            label = name if number == 0 else None
            axis.plot(videos, right, color=color, marker=marker, alpha=0.7, label=label)
    axis.axhline(100 * chance, color="grey", linestyle=":", label="chance")
    axis.set(xlabel="videos so far", ylabel="segments of things heard of right, %", ylim=(0, 103))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend(loc="center right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()


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
        print(report(arguments.out, 1 / len(Labels(bench.labels).words)))


if __name__ == "__main__":
    main()
