"""How fast names are learned: word accuracy against minutes of training, and against namings heard.

    python benchmarks/learning_curves.py --bench BENCH_FOLDER [--seeds 0 1 2] [--home FOLDER]
        [--out FOLDER]

BENCH_FOLDER is told of in `benchmarks/bench.py`. Against minutes: every training of the default
preset gets a share of its steps, all from an empty memory. Against namings: eyes and ears have
learned from all frames and clips, but of each video only the first n namings are associated and
remembered as words. Accuracies are shares of known segments named right,
with silence allowed and without. Prints Markdown and writes it, a picture and the figures.
"""

import argparse
import dataclasses
import io
import tempfile
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

import realbench
from aela.association.associator import load_associator
from aela.association.pairs import read_pairs
from aela.association.train import train_associator
from aela.evaluation import score as scores
from aela.learning.checkpoints import Card, Checkpoint
from aela.memory import manifest as manifests
from aela.memory.manifest import Manifest
from aela.mimicry.recall import Mimic
from aela.presets import DEFAULT_PRESET, Preset, preset
from aela.storage import Home, atomic, sha256, write_bytes, write_json
from bench import Bench, remember

mpl.use("agg")
from matplotlib import pyplot as plt

EFFORTS = (0.03, 0.1, 0.3, 1.0)
NAMINGS = (1, 2, 3, 4, 6)  # of each video
LINES = ("silence allowed", "never silent")

Point = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    by_minutes: list[list[Point]] = [[] for _ in EFFORTS]
    by_namings: list[list[Point]] = [[] for _ in NAMINGS]
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(arguments.home or folder)
        bench = remember(home, arguments.bench)
        manifest = manifests.take(home)
        chance = 1 / len(scores.Labels(bench.labels).words)
        for seed in arguments.seeds:
            for points, effort in zip(by_minutes, EFFORTS, strict=True):
                start = time.process_time()
                settings = preset(DEFAULT_PRESET, effort)
                eyes, _ = realbench.learn_to_see(home, manifest, settings, seed)
                words = realbench.learn_to_hear(home, manifest, settings, seed)
                whole = realbench.join(home, manifest, eyes, words, settings, seed)
                minutes = (time.process_time() - start) / 60
                points.append({"minutes": minutes, **_accuracy(bench, whole)})
                print(f"seed {seed}, effort {effort}: {points[-1]}", flush=True)
            for points, namings in zip(by_namings, NAMINGS, strict=True):
                mimic = _with_namings(home, manifest, whole, words, settings, seed, namings)
                heard = namings * len(manifest.entries)
                points.append({"namings": heard, **_accuracy(bench, mimic)})
                print(f"seed {seed}, namings {namings}: {points[-1]}", flush=True)
            _write(arguments, by_minutes, by_namings, chance)


def _write(
    arguments: argparse.Namespace,
    by_minutes: list[list[Point]],
    by_namings: list[list[Point]],
    chance: float,
) -> None:
    """The figures so far."""
    out = Home.at(arguments.out).root
    stem = f"{arguments.bench.name}-learning-curves"
    text = _text(by_minutes, by_namings, chance)
    write_bytes(out / f"{stem}.md", text.encode())
    write_bytes(out / f"{stem}.png", _picture(by_minutes, by_namings, chance))
    figures = {"seeds": arguments.seeds, "minutes": by_minutes, "namings": by_namings}
    write_json(out / f"{stem}.json", {**figures, "chance": chance})
    print(text)


def _accuracy(bench: Bench, mimic: Mimic) -> Point:
    tables = realbench.predictions(bench, mimic, sounds=False)
    remembered = scores.score(tables, bench.labels, None)["remembered"]
    return {
        "silence allowed": remembered["word_accuracy"]["all"],
        "never silent": remembered["word_accuracy_forced"]["all"],
    }


def _with_namings(
    home: Home,
    manifest: Manifest,
    whole: Mimic,
    words: Checkpoint,
    settings: Preset,
    seed: int,
    namings: int,
) -> Mimic:
    """The same eyes and ears, with only the first namings of each video associated and known."""
    eyes = Checkpoint(whole.generation.image_encoder, Card("image_encoder", {}, seed, manifest.sha))
    table = read_pairs(home, whole.generation.pairs)
    few = sha256(f"{whole.generation.pairs} {namings}".encode())
    with atomic(home.pairs(few)) as file:
        pq.write_table(table.filter(pc.less(table["clip"], namings)), file)
    associator = train_associator(home, manifest, eyes, words, few, settings.associator, seed=seed)
    known = np.concatenate([np.arange(entry.clips) < namings for entry in manifest.entries])
    memory = whole.remembering
    heard = {
        name: getattr(memory, name)[known]
        for name in ("words", "clip_videos", "clip_starts_s", "clip_ends_s")
    }
    return Mimic(
        dataclasses.replace(whole.generation, associator=associator.sha, pairs=few),
        settings.mimicry,
        dataclasses.replace(memory, **heard),
        whole.encoder,
        load_associator(home, associator.sha),
        whole.speech,
        "cpu",
    )


def _text(by_minutes: list[list[Point]], by_namings: list[list[Point]], chance: float) -> str:
    lines = [
        "# Learning curves",
        "",
        f"Mean and spread over the seeds; chance is {chance:.0%}.",
        "",
    ]
    for name, curve in (("minutes", by_minutes), ("namings", by_namings)):
        lines += [f"| {name} | silence allowed | never silent |", "|---|---|---|"]
        for points in curve:
            x = np.mean([point[name] for point in points])
            lines.append(f"| {x:.3g} | {_cell(points, LINES[0])} | {_cell(points, LINES[1])} |")
        lines.append("")
    return "\n".join(lines)


def _cell(points: list[Point], name: str) -> str:
    values = [100 * point[name] for point in points]
    return f"{np.mean(values):.0f} ± {np.std(values):.0f} %"


def _picture(by_minutes: list[list[Point]], by_namings: list[list[Point]], chance: float) -> bytes:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    titles = {"minutes": "processor minutes of learning", "namings": "namings heard"}
    for axis, (name, title), curve in zip(
        axes, titles.items(), (by_minutes, by_namings), strict=True
    ):
        x = [np.mean([point[name] for point in points]) for points in curve]
        for line in LINES:
            values = [[100 * point[line] for point in points] for points in curve]
            mean = [np.mean(v) for v in values]
            axis.plot(x, mean, marker="o", label=line)
            axis.fill_between(x, [min(v) for v in values], [max(v) for v in values], alpha=0.2)
        axis.axhline(100 * chance, color="grey", linestyle=":", label="chance")
        axis.set(xlabel=title, ylim=(0, 103), xlim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("segments named right, %")
    axes[1].legend(loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
