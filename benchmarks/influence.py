"""Influence: how many answers change when the moments of their word are left out of the learning.

    python benchmarks/influence.py --bench BENCH_FOLDER [--home HOME] [--samples 10]
        [--preset aela1] [--effort 1] [--seed 0] [--out FOLDER]

BENCH_FOLDER is told of in `benchmarks/bench.py`. Answers to the test videos are drawn evenly. For
each, the associator is trained again without all clips that sound like the recalled one and the
frames they were heard with, and as a control without as many clips of other words; an answer has
changed when the clip recalled then does not sound like the one before. Every clip may be recalled
all the same. With --home, both senses are those of that home's speaking generation; without, they
are trained first. Labels take no part. Prints Markdown and writes it to --out.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from aela.evaluation.influence import Influence, LeavingOut
from aela.evaluation.pictures import evenly
from aela.memory import manifest as manifests
from aela.mimicry import generation as generations
from aela.mimicry.predict import look
from aela.mimicry.recall import Mimic
from aela.presets import DEFAULT_PRESET, PRESETS, Preset, preset
from aela.storage import Home, write_bytes
from bench import Bench, remember
from realbench import join, learn_to_hear, learn_to_see


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET)
    parser.add_argument("--effort", type=float, default=1.0, help="share of the training steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = preset(arguments.preset, arguments.effort)
    with tempfile.TemporaryDirectory() as folder:
        bench = remember(Home.at(arguments.home or folder), arguments.bench)
        mimic = prepare(bench, settings, arguments.seed)
        start = time.monotonic()
        leaving_out = LeavingOut(bench.home, mimic, settings.associator, arguments.seed)
        answers = _answers(bench, mimic)
        found: list[Influence] = []
        for row in evenly(len(answers), arguments.samples):
            video, time_s = answers[row]
            influence = leaving_out.influence(video, time_s)
            if influence:
                found.append(influence)
                print(influence, flush=True)
        text = _text(arguments, mimic, found, time.monotonic() - start)
    write_bytes(Home.at(arguments.out).root / f"{arguments.bench.name}-influence.md", text.encode())
    print(text)


def prepare(bench: Bench, settings: Preset, seed: int) -> Mimic:
    """The home's speaking generation, or a newly trained one."""
    home = bench.home
    if generation := generations.current(home):
        return Mimic.load(home, generation, settings.mimicry)
    manifest = manifests.take(home)
    eyes, _ = learn_to_see(home, manifest, settings, seed)
    words = learn_to_hear(home, manifest, settings, seed)
    return join(home, manifest, eyes, words, settings, seed)


def _answers(bench: Bench, mimic: Mimic) -> list[tuple[str, float]]:
    """The frames of the test videos at which it speaks: video and time."""
    answers = []
    for video in bench.watched:
        table, _ = look(bench.home, video, mimic)
        answers += [(video, row["time_s"]) for row in table.to_pylist() if row["said"]]
    return answers


def _text(
    arguments: argparse.Namespace, mimic: Mimic, found: list[Influence], seconds: float
) -> str:
    memory = mimic.remembering
    lines = [
        f"# Influence on {arguments.bench.name}",
        "",
        f"`python benchmarks/influence.py --bench BENCH --preset {arguments.preset} "
        f"--effort {arguments.effort:g} --samples {arguments.samples} --seed {arguments.seed}`, "
        f"{seconds:.0f} s after the senses were trained; {len(memory.words)} remembered clips.",
        "",
        "| left out | answers changed |",
        "|---|---|",
        f"| the moments of the word | {_share([one.changed for one in found])} |",
        f"| as many of other words | {_share([one.control_changed for one in found])} |",
        "",
        "| looked at | recalled | clips left out | moments | changed | control changed |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        recalled = f"{memory.clip_videos[one.clip]} {memory.clip_starts_s[one.clip]:.1f} s"
        lines.append(
            f"| {one.video} {one.time_s:.1f} s | {recalled} | {one.clips} | {one.moments} | "
            f"{_yes(one.changed)} | {_yes(one.control_changed)} |"
        )
    return "\n".join([*lines, ""])


def _share(changed: list[bool]) -> str:
    return f"{np.sum(changed)} of {len(changed)}"


def _yes(changed: bool) -> str:
    return "yes" if changed else "no"


if __name__ == "__main__":
    main()
