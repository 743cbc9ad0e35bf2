"""What a round costs: one video more, with 20, 200 and 2,000 videos remembered.

    python benchmarks/rounds.py --bench BENCH_FOLDER [--videos 20 200 2000] [--threads 1]

BENCH_FOLDER is told of in `benchmarks/bench.py`. A generation learns from all its training videos
but one, with a tenth of the steps. Memory is then made larger by replaying: each video stands there
many times under other names, with its embeddings, as if the generation had learned from all of
them. Measured is what the last video's arrival costs, all trainings with the default settings: in
processor seconds, so that others on the machine do not count. Prints Markdown.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from aela.association.pairs import make_pairs
from aela.learning import checkpoints, embeddings, rounds
from aela.learning.checkpoints import MODELS, Checkpoint
from aela.learning.embeddings import REFRESHED, Sense
from aela.memory import manifest as manifests
from aela.memory.manifest import Entry, Manifest
from aela.mimicry.novelty import memory_threshold
from aela.presets import DEFAULT_PRESET, preset
from aela.speech.speech import load_speech
from aela.storage import Home, read_json, write_json
from aela.trainers import train
from aela.vision.encoder import load_image_encoder
from bench import remember

EFFORT = 0.1  # of the parents' training: what they know does not change what a round costs
SENSES: dict[Sense, str] = {
    "frame": "image_encoder",
    "ground": "image_encoder",
    "clip": "word_autoencoder",
}


class Clock:
    """Processor seconds by what was done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0) + time.process_time() - start


def learn(
    home: Home, manifest: Manifest, effort: float, parents: dict[str, Checkpoint], clock: Clock
) -> dict[str, Checkpoint]:
    """All models, from their parents if there are any."""
    manifests.write(home, manifest)
    settings, made = preset(DEFAULT_PRESET, effort), {}
    for model in MODELS:
        inputs = {name: checkpoint.sha for name, checkpoint in made.items()}
        with clock.time(model):
            made[model] = train(
                home, model, manifest, settings, seed=0, parent=parents.get(model), inputs=inputs
            )
        with clock.time("embeddings"):
            for sense, of in SENSES.items():
                if of == model:
                    _embed(home, made[model], manifest, sense)
    with clock.time("the threshold"):
        memory_threshold(home, manifest.sha, made["image_encoder"].sha, settings.mimicry)
    return made


def _embed(home: Home, made: Checkpoint, manifest: Manifest, sense: Sense) -> None:
    if sense == "clip":
        embed: Callable = load_speech(home, made.sha).embed
    else:
        encoder = load_image_encoder(home, made.sha)
        embed = encoder.embed if sense == "frame" else encoder.embed_ground
    parent = rounds.takes_over_from(made)
    embeddings.refresh(home, made.sha, manifest, sense, embed, parent=parent, most=REFRESHED)


def replayed(home: Home, entries: tuple[Entry, ...], number: int) -> Manifest:
    """So many videos, made of these: the same files under other names."""
    many = []
    for count in range(number):
        entry = entries[count % len(entries)]
        again = dataclasses.replace(entry, video=f"{entry.video[:-9]}-{count:08x}")
        many.append(again)
        for of in (home.frames, home.clips):
            there = Path(str(of(again.video)))
            if not there.exists():
                there.symlink_to(Path(str(of(entry.video))))
        index = home.index / f"{again.video}.json"
        if not index.exists():
            write_json(index, {**_index(home, entry), "video": again.video})
    return Manifest(tuple(sorted(many, key=lambda entry: entry.video)))


def _index(home: Home, entry: Entry) -> dict:
    return read_json(home.index / f"{entry.video}.json")


def as_if_learned(
    home: Home, made: dict[str, Checkpoint], few: Manifest, many: Manifest
) -> dict[str, Checkpoint]:
    """The same checkpoints, as if they had learned from many videos, with embeddings of them."""
    manifests.write(home, many)
    of = {entry.content: entry.video for entry in few.entries}
    result: dict[str, Checkpoint] = {}
    for model, checkpoint in made.items():
        card = dataclasses.replace(checkpoint.card, manifest=many.sha)
        weights = checkpoints.weights(home, model, checkpoint.sha)
        result[model] = checkpoints.save(home, card, weights)
        for sense, owner in SENSES.items():
            if owner == model:
                for entry in many.entries:
                    values = embeddings.read(home, checkpoint.sha, of[entry.content], sense)
                    there = result[model].sha, entry.video, entry.content
                    embeddings.write(home, *there, values, sense)
    window_s = preset(DEFAULT_PRESET).associator.window_s
    make_pairs(home, many, result["image_encoder"], result["word_autoencoder"], window_s)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--videos", type=int, nargs="+", default=[20, 200, 2000])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    columns: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder)
        remember(home, arguments.bench)
        *old, new = manifests.of_now(home).entries
        few = Manifest(tuple(old))
        made = learn(home, few, EFFORT, {}, Clock())
        for number in arguments.videos:
            many = replayed(home, few.entries, number)
            parents = as_if_learned(home, made, few, many)
            entries = sorted([*many.entries, new], key=lambda entry: entry.video)
            clock = Clock()
            learn(home, Manifest(tuple(entries)), 1.0, parents, clock)
            columns[number] = clock.seconds
    print("| processor seconds of a round | " + " | ".join(f"{n:,}" for n in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name in next(iter(columns.values())):
        cells = [f"{seconds[name]:.1f}" for seconds in columns.values()]
        print(f"| {name} | " + " | ".join(cells) + " |")
    whole = [float(np.sum(list(seconds.values()))) for seconds in columns.values()]
    print("| all | " + " | ".join(f"**{seconds:.1f}**" for seconds in whole) + " |")


if __name__ == "__main__":
    main()
