"""How many wrong pairs the associator bears: words heard with things they do not belong to.

    python benchmarks/noisy_pairs.py BENCH_FOLDER [--home HOME] [--seeds 0 1 2]

BENCH_FOLDER is told of in `benchmarks/bench.py`. A share of the remembered clips is exchanged at
random between different videos, and the associator learns from what is left of the truth. Both
senses learn from the recordings as they are: they never meet each other. With --home, they are
those of that home's speaking generation; without, they are trained first, with the default preset.

A test frame counts from half a second after its segment begins to the segment's first word; it is
right when the nearest remembered clip, by its own label, says the word of what is seen. Prints a
Markdown table; spreads are over the seeds, of the exchange and of the training.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch

from aela.association.associator import Associator
from aela.association.pairs import make_pairs
from aela.association.settings import ARTICLE, DEFAULT, AssociatorSettings
from aela.association.train import Moments, fit, load_moments, untrained
from aela.evaluation.labels import Labels
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import Checkpoint
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import Manifest, rows
from aela.mimicry import generation as generations
from aela.presets import DEFAULT_PRESET, preset
from aela.storage import Home
from aela.vision.encoder import load_image_encoder
from bench import Bench, remember
from realbench import learn_to_hear, learn_to_see

EXCHANGED = (0.0, 0.1, 0.3, 0.5)
SETTINGS: dict[str, AssociatorSettings] = {
    "default": DEFAULT,
    "default, all pairs trusted alike": dataclasses.replace(DEFAULT, consensus=0),
    "article": ARTICLE,
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What the associator learns from, and the frames that it is asked about.

    Attributes:
        said: words of the remembered clips [clips]; of_video: their videos [clips].
        frames: float32 [n, image] embeddings of test frames; seen: their words [n].
    """

    moments: Moments
    said: np.ndarray
    of_video: np.ndarray
    frames: torch.Tensor
    seen: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--home", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        bench = remember(Home.at(arguments.home or folder), arguments.folder)
        task = prepare(bench)
    print(f"{len(task.said)} remembered clips, {len(task.seen)} test frames")
    print(f"chance {1 / len(set(task.said)):.0%}\n")
    heads = [f"{share:.0%} exchanged" for share in EXCHANGED]
    print(f"| test frames right | {' | '.join(heads)} |\n{'|---' * (len(heads) + 1)}|")
    for name, settings in SETTINGS.items():
        cells = []
        for share in EXCHANGED:
            right = [accuracy(task, settings, share, seed) for seed in arguments.seeds]
            cells.append(f"{np.mean(right):.1%} ± {100 * np.std(right):.1f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def prepare(bench: Bench) -> Task:
    """Both senses as the home's generation has them, or newly trained ones."""
    home, labels = bench.home, Labels(bench.labels)
    generation = generations.current(home)
    if generation:
        manifest = manifests.read(home, generation.manifest)
        image_encoder = checkpoints.read(home, "image_encoder", generation.image_encoder)
        word_autoencoder = checkpoints.read(home, "word_autoencoder", generation.word_autoencoder)
    else:
        manifest = manifests.take(home)
        image_encoder, word_autoencoder = learn_senses(home, manifest)
    pairs = make_pairs(home, manifest, image_encoder, word_autoencoder, DEFAULT.window_s)
    of = image_encoder.sha, word_autoencoder.sha, pairs
    moments = load_moments(home, manifest, *of, DEFAULT, 0)
    said, of_video = [], []
    for video, clips in rows(home, manifest, "clip", ["start_s", "end_s"]):
        for clip in clips.to_pylist():
            said.append(labels.word((video, clip["start_s"], clip["end_s"])) or "")
            of_video.append(video)
    encoder, frames, seen = load_image_encoder(home, image_encoder.sha), [], []
    for video in bench.watched:
        table, watched = store.read_frames(home, video), labels.watched(video)
        times = table["time_s"].to_numpy()
        for segment in watched.segments if watched else ():
            if watched and segment.kind == "known":
                start, end = watched.listening_window(segment)
                chosen = table.take(np.flatnonzero((start <= times) & (times < end)))
                frames.append(encoder.embed(chosen))
                seen += [segment.word] * len(chosen)
    return Task(
        moments,
        np.array(said),
        np.array(of_video),
        torch.from_numpy(np.concatenate(frames)),
        np.array(seen),
    )


def learn_senses(home: Home, manifest: Manifest) -> tuple[Checkpoint, Checkpoint]:
    settings = preset(DEFAULT_PRESET)
    eyes, _ = learn_to_see(home, manifest, settings, seed=0)
    embeddings.refresh(home, eyes.name, manifest, "frame", eyes.embed)
    words = learn_to_hear(home, manifest, settings, seed=0)
    return checkpoints.read(home, "image_encoder", eyes.name), words


def accuracy(task: Task, settings: AssociatorSettings, share: float, seed: int) -> float:
    """Share of test frames named right after learning with a share of the clips exchanged."""
    order = exchange(task.of_video, share, np.random.default_rng(seed))
    moments = dataclasses.replace(task.moments, words=task.moments.words[order])
    torch.manual_seed(seed)
    model = untrained(moments, settings)
    fit(model, moments, settings)
    said = task.said[order][nearest(model.eval(), task.frames, moments.words)]
    return float((said == task.seen).mean())


def exchange(of_video: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which clip is heard at each clip's place [clips], for clips of the videos `of_video`.

    A share of the places, chosen at random, hear another one's clip, always of another video.
    """
    places = rng.permutation(len(of_video))[: round(share * len(of_video))]
    clips = rng.permutation(places)
    while len(stayed := np.flatnonzero(of_video[clips] == of_video[places])):
        swapped = [stayed[0], rng.integers(len(places))]
        clips[swapped] = clips[swapped[::-1]]
    order = np.arange(len(of_video))
    order[places] = clips
    return order


def nearest(model: Associator, frames: torch.Tensor, words: torch.Tensor) -> np.ndarray:
    """The remembered clip that each frame [n, image] brings to mind, as recall has it: int [n]."""
    with torch.inference_mode():
        predicted = torch.nn.functional.normalize(model.standard_words(model(frames)), dim=1)
        heard = torch.nn.functional.normalize(model.standard_words(words), dim=1)
        return (predicted @ heard.T).argmax(dim=1).numpy()


if __name__ == "__main__":
    main()
