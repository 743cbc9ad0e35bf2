"""The whole system on a folder of labelled videos, against its bars and beside its peers.

    python benchmarks/realbench.py --bench BENCH_FOLDER [--seeds 0 1 2] [--preset aela1 aela0]
        [--beside pixels untrained lightly ...] [--extended] [--effort 1] [--home FOLDER]
        [--out FOLDER]

BENCH_FOLDER is told of in `benchmarks/bench.py`. For each seed, each preset learns everything from
an empty memory and watches the test videos; presets after the first get no more minutes for each
model than it took the first. The rows `--beside` have another image side in the same system: the
first preset's ears, its moments and its associator, trained anew on the other's embeddings.

- `pixels`: the whole frame at 32 x 32.
- `untrained`: a ResNet18 on whole frames. `untrained-gaze`: the preset's own encoder, not trained.
- `lightly`: that library's SwAV in its own example settings (`benchmarks/peers.py`), for as many
  processor minutes as the first preset's image encoder took.
- The first preset without one of its tricks: `no-ground` does not know what lies beside things,
  `single-looks` answers each frame on its own, `no-consensus` trusts all moments alike, and
  `benchmarks/vision.py` names the rest.

Prints Markdown and writes it, with all figures as JSON, to --out. Figures are medians over the
seeds, with the least and the most. A home given with --home is kept, and what it holds of the
videos already is not captured again.
"""

import argparse
import statistics
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from rich.console import Console
from rich.markdown import Markdown
from upath import UPath

import speech
import vision
from aela.association.associator import load_associator
from aela.association.pairs import make_pairs
from aela.association.train import train_associator
from aela.evaluation import score as scores
from aela.evaluation.ears import recognise
from aela.evaluation.evaluate import evaluate
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import MODELS, Card, Checkpoint
from aela.learning.loop import Budget
from aela.memory import manifest as manifests
from aela.memory.manifest import Manifest
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.mimicry.novelty import memory_threshold
from aela.mimicry.predict import look, predict, write
from aela.mimicry.recall import Mimic, load_remembering
from aela.presets import PRESETS, Preset, preset
from aela.speech.mel_autoencoder import train_mel_autoencoder
from aela.speech.speech import Speech, load_speech
from aela.speech.word_autoencoder import train_word_autoencoder
from aela.storage import Home, sha256, write_bytes, write_json
from aela.vision.encoder import load_image_encoder
from aela.vision.train import save_untrained, train_image_encoder
from bench import Bench, remember

SOUND_SAMPLE = 2  # sound is made of every second clip, for the figures of the voice
UNTRAINED = replace(vision.PLAIN, network="resnet18")
PEERS = ["pixels", "untrained", "untrained-gaze", "lightly"]
ABLATIONS = ["no-ground", "single-looks", "no-consensus"]
ABLATIONS += [name for name in vision.TRAINED if name != "default"]

SIGNS = "signs of predicted words"
# What is asked for: the figure, its bar, and what would be excellent. True: more is better.
BARS = {
    "segments right, mixed clear": (0.85, 1.0, True),
    "segments right, mixed occluded": (0.70, 0.95, True),
    "segments right, new_speaker clear": (0.65, 0.90, True),
    "recalled words that survive as sound": (0.90, 0.99, True),
    "recalled words that survive, second listener": (0.90, 0.99, True),
    "precision": (0.90, 0.97, True),
    "recall": (0.75, 0.90, True),
    "novelty AUROC, background and hand": (0.95, 0.99, True),
    "novelty AUROC, unknown object": (0.80, 0.95, True),
    f"{SIGNS}, test, centred": (0.67, 0.85, True),
    f"{SIGNS}, test, above the constant": (0.15, 0.15, True),
    "same-different AP, train, above DTW's, across videos": (0.0, 0.0, True),
    "same-different AP, train, above DTW's, across speakers": (0.0, 0.0, True),
    "distortion, train, dB": (5.5, 4.0, False),
    "length error, train, median": (0.08, 0.04, False),
    "length error, train, worst": (0.30, 0.30, False),
    "sign accuracy of the word autoencoder, held-out videos": (0.95, 0.98, True),
    "minutes of learning": (25.0, 25.0, False),
}


@dataclass(frozen=True)
class Sight:
    """An image side: what it is called in a home, how it embeds, and what it knows of the ground.

    Those who look at whole frames know no ground.
    """

    name: str
    embed: vision.Embed
    embed_ground: vision.Embed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=["aela1"])
    parser.add_argument("--beside", nargs="*", choices=[*PEERS, *ABLATIONS], default=[])
    parser.add_argument("--extended", action="store_true", help="learn from the silent videos, too")
    parser.add_argument("--effort", type=float, default=1.0, help="share of the training steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if "lightly" in arguments.beside:
        import peers  # noqa: F401  # tells at once when lightly is missing
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(arguments.home or folder)
        start = time.monotonic()
        bench = remember(home, arguments.bench, arguments.extended)
        capturing_s = time.monotonic() - start
        manifest = manifests.take(home)
        train, test = speech.sayings(bench)
        console.print(f"{manifest.frames} frames and {manifest.clips} clips to learn from")
        baseline = speech.baselines(train, test, SOUND_SAMPLE)
        rows: dict[str, list[dict[str, float]]] = {}
        segments: dict[str, list[dict[str, Any]]] = {name: [] for name in arguments.preset}
        for seed in arguments.seeds:
            first = None
            for name in arguments.preset:
                console.print(f"seed {seed}: {name}")
                settings = preset(name, arguments.effort)
                if first:
                    settings = _within(settings, _minutes(home, first.generation))
                start = time.monotonic()
                eyes, cpu_s = learn_to_see(home, manifest, settings, seed)
                words = learn_to_hear(home, manifest, settings, seed)
                mimic = join(home, manifest, eyes, words, settings, seed)
                found, said = _watch(bench, mimic, eyes, sounds=True)
                seconds = time.monotonic() - start + capturing_s
                found |= {"minutes of learning": seconds / 60}
                found |= _signs(home, mimic, settings)
                found |= _hearing(mimic.speech, train, test, baseline)
                rows.setdefault(name, []).append(found)
                segments[name] += said
                if first:
                    continue
                first = mimic
                for other in arguments.beside:
                    console.print(f"seed {seed}: {other}")
                    side = _sight(home, manifest, other, eyes, settings, seed, cpu_s)
                    beside = join(home, manifest, side, words, _without(settings, other), seed)
                    found, _ = _watch(bench, beside, side, sounds=False)
                    rows.setdefault(other, []).append(found)
                    _write(console, arguments, bench, rows, segments, show=False)
            last = seed == arguments.seeds[-1]
            _write(console, arguments, bench, rows, segments, show=last)


def _minutes(home: Home, generation: Generation) -> dict[str, float]:
    """How long each model of a generation was trained."""
    shas = {model: getattr(generation, model) for model in MODELS}
    cards = {model: checkpoints.read(home, model, sha).card for model, sha in shas.items()}
    return {model: card.metrics["seconds"] / 60 for model, card in cards.items()}


def _within(settings: Preset, minutes: dict[str, float]) -> Preset:
    budgets = {
        model: Budget(getattr(settings, model).budget.steps, minutes[model]) for model in MODELS
    }
    parts = {m: replace(getattr(settings, m), budget=budget) for m, budget in budgets.items()}
    return replace(settings, **parts)


def learn_to_see(
    home: Home, manifest: Manifest, settings: Preset, seed: int
) -> tuple[Sight, float]:
    """The trained image encoder, and the processor seconds it took."""
    start = time.process_time()
    checkpoint = train_image_encoder(home, manifest, settings.image_encoder, seed=seed)
    seconds = time.process_time() - start
    return _seeing(home, checkpoint), seconds


def _seeing(home: Home, image_encoder: Checkpoint) -> Sight:
    encoder = load_image_encoder(home, image_encoder.sha)
    return Sight(image_encoder.sha, encoder.embed, encoder.embed_ground)


def learn_to_hear(home: Home, manifest: Manifest, settings: Preset, seed: int) -> Checkpoint:
    mel = train_mel_autoencoder(home, manifest, settings.mel_autoencoder, seed=seed)
    words = train_word_autoencoder(home, manifest, mel, settings.word_autoencoder, seed=seed)
    embeddings.refresh(home, words.sha, manifest, "clip", load_speech(home, words.sha).embed)
    return words


def _sight(
    home: Home,
    manifest: Manifest,
    name: str,
    eyes: Sight,
    settings: Preset,
    seed: int,
    cpu_s: float,
) -> Sight:
    """The image side of a row beside the preset, whose own is `eyes`."""
    if name in ("single-looks", "no-consensus"):
        return eyes
    if name == "no-ground":
        return Sight(_name(name, eyes.name), eyes.embed, _no_ground)
    if name == "pixels":
        return Sight(_name(name), vision.raw_pixels, _no_ground)
    if name == "untrained":
        start = save_untrained(home, manifest, UNTRAINED, seed=seed)
        embed = load_image_encoder(home, start.sha).embed
        return Sight(_name(name, start.sha), embed, _no_ground)
    if name == "untrained-gaze":
        return _seeing(home, save_untrained(home, manifest, settings.image_encoder, seed=seed))
    if name == "lightly":
        from peers import train_lightly_swav

        embed = train_lightly_swav(home, manifest, minutes=cpu_s / 60, seed=seed)
        return Sight(_name(name, str(uuid.uuid4())), embed, _no_ground)
    changed = replace(vision.TRAINED[name], budget=settings.image_encoder.budget)
    return learn_to_see(home, manifest, replace(settings, image_encoder=changed), seed)[0]


def _name(*parts: str) -> str:
    """What an image side is called in a home: never the same for two that see differently."""
    return sha256(" ".join(parts).encode())


def _without(settings: Preset, name: str) -> Preset:
    """The settings of a row beside the preset, its image side apart."""
    if name == "single-looks":
        return replace(settings, mimicry=replace(settings.mimicry, steady_s=0.0))
    if name == "no-consensus":
        return replace(settings, associator=replace(settings.associator, consensus=0))
    return settings


def _no_ground(frames: pa.Table) -> np.ndarray:
    return np.zeros((0, 1), np.float32)


def join(
    home: Home, manifest: Manifest, eyes: Sight, words: Checkpoint, settings: Preset, seed: int
) -> Mimic:
    """Embed memory, train the associator, and have it all as one generation."""
    embeddings.refresh(home, eyes.name, manifest, "frame", eyes.embed)
    embeddings.refresh(home, eyes.name, manifest, "ground", eyes.embed_ground)
    image_encoder = Checkpoint(eyes.name, Card("image_encoder", {}, seed, manifest.sha))
    window_s = settings.associator.window_s
    pairs = make_pairs(home, manifest, image_encoder, words, window_s)
    associator = train_associator(
        home, manifest, image_encoder, words, pairs, settings.associator, seed=seed
    )
    generation = Generation(
        image_encoder=eyes.name,
        mel_autoencoder=words.card.inputs["mel_autoencoder"],
        word_autoencoder=words.sha,
        associator=associator.sha,
        pairs=pairs,
        manifest=manifest.sha,
        threshold=memory_threshold(home, manifest.sha, eyes.name, settings.mimicry),
    )
    generations.write(home, generation)
    return Mimic(
        generation,
        settings.mimicry,
        load_remembering(home, manifest.sha, eyes.name, words.sha),
        eyes,  # pyright: ignore[reportArgumentType]  # all that is asked of it is `embed`
        load_associator(home, associator.sha),
        load_speech(home, words.sha),
        "cpu",
    )


def predictions(bench: Bench, mimic: Mimic, *, sounds: bool) -> list[UPath]:
    """The tables of what is said to the test videos, with or without the sounds."""
    tables = []
    for video in bench.watched:
        tables.append(bench.home.predictions(video, mimic.generation.sha))
        if sounds:
            predict(bench.home, video, mimic)
        else:
            write(look(bench.home, video, mimic)[0], tables[-1])
    return tables


def _watch(
    bench: Bench, mimic: Mimic, eyes: Sight, *, sounds: bool
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """How much of what is said to the test videos is right, and what is said to each segment."""
    home = bench.home
    tables = predictions(bench, mimic, sounds=sounds)
    scored = scores.score(tables, bench.labels, home if sounds else None)
    heard = scores.word_recognition(
        bench.watched, *recognise(home, mimic, bench.watched), bench.labels
    )
    remembered = scored["remembered"]
    said = scores.segments(tables, bench.labels)
    found = {
        **_by_group(bench, said),
        "segments right, never silent": remembered["word_accuracy_forced"]["all"],
        "frames right, never silent": remembered["frame_accuracy_forced"]["all"],
        "precision": remembered["precision"],
        "recall": remembered["recall"],
        "frames silent where nothing is known": scored["silence"]["all"]["silent_frames"],
        "words recognised by ear": heard["all"],
    }
    found |= {
        f"novelty AUROC, {name.replace('_', ' ')}": area
        for name, area in scored["novelty_auroc"].items()
    }
    if scored["sound"]:
        first, second = (scored["sound"][name] for name in ("nearest_saying", "classifier"))
        found["precision of sounds"] = first["precision"]
        found["recalled words that survive as sound"] = first["survival"]
        found["recalled words that survive, second listener"] = second["survival"]
    nearest = vision.score(home, bench.known(), eyes.embed)
    found |= {f"k-NN, {name}": value for name, value in nearest.items() if ": " in name}
    return {name: float(value) for name, value in found.items() if value is not None}, said


def _by_group(bench: Bench, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Shares of known segments named right: of all, and by video and clear or occluded."""
    groups: dict[str, list[bool]] = {"all": []}
    for video in bench.labels["videos"]:
        of = {row["start"]: row for row in rows if row["video"] == bench.keys.get(video["file"])}
        for segment in video["segments"]:
            if segment["kind"] != "known" or segment["start"] not in of:
                continue
            right = of[segment["start"]]["right"]
            name = Path(video["file"]).stem.removeprefix("test_")
            hidden = "occluded" if segment.get("occluded") else "clear"
            groups["all"].append(right)
            groups.setdefault(f"{name} {hidden}", []).append(right)
    return {f"segments right, {name}": float(np.mean(right)) for name, right in groups.items()}


def _signs(home: Home, mimic: Mimic, settings: Preset) -> dict[str, float]:
    parts = evaluate(home, mimic, settings.associator.window_s).sign_accuracy
    found = {}
    for part, accuracy in parts.items():
        found[f"{SIGNS}, {part}"] = accuracy.raw
        found[f"{SIGNS}, {part}, constant"] = accuracy.constant_mean
        found[f"{SIGNS}, {part}, centred"] = accuracy.centred
        found[f"{SIGNS}, {part}, centred, constant"] = accuracy.constant_centred
        found[f"{SIGNS}, {part}, centred, shuffled"] = accuracy.shuffled_centred
    test = parts["test"]
    above = test.centred - max(test.constant_mean, test.constant_centred)
    return found | {f"{SIGNS}, test, above the constant": above}


def _hearing(
    ears: Speech, train: speech.Sayings, test: speech.Sayings, baseline: dict[str, float]
) -> dict[str, float]:
    found = speech.figures(ears, train, test, SOUND_SAMPLE)
    for across in ("videos", "speakers"):
        name = f"same-different AP, train, across {across}"
        above = found[name] - baseline[name]
        found[f"same-different AP, train, above DTW's, across {across}"] = above
    found["sign accuracy of the word autoencoder, held-out videos"] = found["sign accuracy, test"]
    return {name: value for name, value in found.items() if name != "sign accuracy, test"}


def _write(
    console: Console,
    arguments: argparse.Namespace,
    bench: Bench,
    rows: dict[str, list[dict[str, float]]],
    segments: dict[str, list[dict[str, Any]]],
    *,
    show: bool,
) -> None:
    lines = [f"# {' and '.join(arguments.preset)} on {arguments.bench.name}", ""]
    lines += [f"`{_command(arguments)}`", ""]
    for name in arguments.preset:
        lines += [f"## {name} against the bars", "", *_bars(rows[name]), ""]
    lines += ["## Beside its peers", "", *_peers(bench, rows), ""]
    for name in arguments.preset:
        title = f"## What {name} makes of each thing, over all seeds, worst first"
        lines += [title, "", *_of_things(segments[name]), ""]
    for name in arguments.preset:
        lines += [f"## All figures of {name}", "", *_everything(rows[name]), ""]
    text = "\n".join(lines)
    stem = f"{arguments.bench.name}-{'-'.join(arguments.preset)}"
    home = Home.at(arguments.out).root
    write_bytes(home / f"{stem}.md", text.encode())
    write_json(home / f"{stem}.json", {"seeds": arguments.seeds, "rows": rows})
    if show:
        console.print(Markdown(text))


def _command(arguments: argparse.Namespace) -> str:
    parts = ["python benchmarks/realbench.py --bench BENCH", "--seeds"]
    parts += [*map(str, arguments.seeds), "--preset", *arguments.preset]
    if arguments.beside:
        parts += ["--beside", *arguments.beside]
    if arguments.effort != 1:
        parts.append(f"--effort {arguments.effort:g}")
    return " ".join(parts)


def _bars(figures: list[dict[str, float]]) -> list[str]:
    lines = ["| | median | least to most | bar | | excellent |", "|---|---|---|---|---|---|"]
    for name, (bar, excellent, more) in BARS.items():
        values = [found[name] for found in figures if name in found]
        if not values:
            lines.append(f"| {name} | not measured | | | | |")
            continue
        median = statistics.median(values)
        reached = median >= bar if more else median <= bar
        sign = "≥" if more else "≤"
        lines.append(
            f"| {name} | **{_number(median)}** | {_number(min(values))} to {_number(max(values))} "
            f"| {sign} {bar:g} | {'reached' if reached else 'missed'} | {sign} {excellent:g} |"
        )
    return lines


def _peers(bench: Bench, rows: dict[str, list[dict[str, float]]]) -> list[str]:
    columns = [name for name in next(iter(rows.values()))[0] if name.startswith("segments right")]
    columns += [
        "frames right, never silent",
        "precision",
        "novelty AUROC, background and hand",
        "novelty AUROC, unknown object",
    ]
    columns += [
        name for name in next(iter(rows.values()))[0] if name.startswith("k-NN") and "fr" in name
    ]
    words = {s["word"] for v in bench.labels["videos"] for s in v["segments"] if s.get("word")}
    lines = ["| image side | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    chance = ["0.5" if "AUROC" in name else _number(1 / len(words)) for name in columns]
    lines.append("| chance | " + " | ".join(chance) + " |")
    for row, figures in rows.items():
        cells = [_median(figures, name) for name in columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return lines


def _of_things(segments: list[dict[str, Any]]) -> list[str]:
    """How often each thing was named right, met with silence, or called by another's word."""
    named = {segment["word"]: segment["shown"] for segment in segments if segment["word"]}
    by_thing: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for segment in segments:
        by_thing.setdefault((segment["kind"], segment["shown"]), []).append(segment)
    share = {thing: np.mean([segment["right"] for segment in of]) for thing, of in by_thing.items()}
    lines = ["| | looks | right | silent | taken for |", "|---|---|---|---|---|"]
    for kind, thing in sorted(by_thing, key=lambda thing: (thing[0] != "known", share[thing])):
        of = by_thing[kind, thing]
        right = sum(segment["right"] for segment in of)
        silent = sum(segment["said"] is None for segment in of)
        wrong = Counter(
            segment["said"] for segment in of if segment["said"] and not segment["right"]
        )
        taken = ", ".join(f"{named.get(word, word)} {n}×" for word, n in wrong.most_common())
        title = thing if kind in ("known", thing) else f"{thing} ({kind.replace('_', ' ')})"
        lines.append(f"| {title} | {len(of)} | {right} | {silent} | {taken} |")
    return lines


def _everything(figures: list[dict[str, float]]) -> list[str]:
    lines = ["| | median (least to most) |", "|---|---|"]
    return lines + [f"| {name} | {_median(figures, name)} |" for name in figures[0]]


def _median(figures: list[dict[str, float]], name: str) -> str:
    values = [found[name] for found in figures if name in found]
    if not values:
        return "–"
    median = _number(statistics.median(values))
    if len(values) == 1:
        return median
    return f"{median} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 2 else f"{value:.2f}"


if __name__ == "__main__":
    main()
