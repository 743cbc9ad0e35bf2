"""`aela trace`: from a prediction back to memory, and from a video to what depends on it."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.tree import Tree
from upath import UPath

from aela.memory import forget as forgetting
from aela.memory import store
from aela.memory.videos import UnknownVideo, without_hash
from aela.mimicry import generation as generations
from aela.mimicry import lineage
from aela.mimicry.lineage import Dependents
from aela.mimicry.trace import Trace, trace
from aela.storage import Home

MOST_VIDEOS = 20  # listed in one branch; the rest is counted


def run(
    console: Console, home: Home, what: str, *, as_json: bool, page: Path | None, look: bool
) -> None:
    """Show where the prediction `VIDEO@SECONDS` comes from, or what depends on the video `VIDEO`.

    Raises:
        UnknownPrediction, UnknownVideo: there is none of that name.
        ValueError: a page is asked for of a video.
    """
    if "@" not in what:
        if page or look:
            raise ValueError("A page shows one prediction; write VIDEO@SECONDS.")
        _down(console, home, _key(home, what), as_json=as_json)
        return
    found = trace(home, what)
    if page or look:
        from aela.evaluation.trace_page import write_page

        path = page or Path(f"trace-{found.video}-{found.row['time_s']:.1f}.html")
        write_page(home, found, UPath(path.absolute()))
        console.print(f"The page is {path}", highlight=False, soft_wrap=True)
        if look:
            typer.launch(str(path))
    elif as_json:
        print(json.dumps(asdict(found), indent=1, default=str))
    else:
        console.print(_up(found), highlight=False, soft_wrap=True)


def _key(home: Home, name: str) -> str:
    try:
        return forgetting.find(home, name)
    except UnknownVideo as error:
        raise UnknownVideo(f"{error} Of one prediction, write VIDEO@SECONDS.") from None


def _up(found: Trace) -> Tree:
    row, generation = found.row, found.generation
    heard = f"{without_hash(row['clip_video'])} at {row['clip_start_s']:.1f} s"
    said = f"said what was heard in {heard}" if row["said"] else "stayed silent"
    tree = Tree(
        f"[bold]{found.video}[/] at {row['time_s']:.2f} s: {said} "
        f"(confidence {row['confidence']:.2f}, novelty {row['novelty']:.3f}, "
        f"silent above {generation.threshold:.3f})"
    )
    if row["said"]:
        tree.add(f"its sound: {row['sound']}")
    leaning = tree.add("leans on")
    gone = {video: f", [red]forgotten[/] {when}" for video, when in found.forgotten.items()}
    leaning.add(
        f"clip {row['clip_video']} {row['clip_start_s']:.2f}-{row['clip_end_s']:.2f} s "
        f"(nearest remembered word){gone.get(row['clip_video'], '')}"
    )
    for frame in row["frames"]:
        leaning.add(
            f"frame {frame['video']} {frame['time_s']:.2f} s "
            f"(similarity {frame['similarity']:.3f}){gone.get(frame['video'], '')}"
        )
    origin = tree.add(f"generation {generation.sha} (published {generation.created})")
    for before in found.before[:MOST_VIDEOS]:
        origin.add(f"before it spoke {before.sha} (published {before.created})")
    for model, checkpoint in found.checkpoints.items():
        branch = origin.add(f"{model} {checkpoint.sha}")
        for number, one in enumerate(found.origins.line(checkpoint)):
            card = one.card
            if number:
                branch.add(f"parent {one.sha}")
            branch.add(
                f"trained {card.created}, seed {card.seed}, "
                f"{card.metrics.get('steps', 0):.0f} steps, parent {card.parent or 'none'}"
            )
            branch.add(f"manifest {card.manifest}")
    for name in found.origins.missing:
        origin.add(f"[red]gone[/]: {name}")
    manifest = tree.add(
        f"manifest {found.manifest.sha}: {len(found.manifest.entries)} videos, "
        f"{found.manifest.frames} frames, {found.manifest.clips} clips"
    )
    for entry in found.manifest.entries:
        manifest.add(
            f"{entry.video}: {entry.frames} frames, {entry.clips} clips{gone.get(entry.video, '')}"
        )
    earlier = [e for e in found.origins.entries if e not in set(found.manifest.entries)]
    if earlier:
        before = tree.add("learned from by parents alone")
        for entry in earlier:
            before.add(
                f"{entry.video}: {entry.frames} frames, {entry.clips} clips "
                f"{gone.get(entry.video, '')}"
            )
    return tree


def _down(console: Console, home: Home, video: str, *, as_json: bool) -> None:
    contents = lineage.contents(home, video)
    now = store.content(home, video)
    # A content that nothing learned from yet may have predictions of its own frames.
    names = [*contents, *([now] if now and now not in contents else [])]
    # The first prediction tables do not tell what they were made of: of one content, surely.
    found = {
        content: lineage.dependents(home, video, content if len(names) > 1 else None)
        for content in names
    }
    if as_json:
        shown = {content: asdict(depending) for content, depending in found.items()}
        print(json.dumps({"video": video, "content": now, "dependents": shown}, indent=1))
        return
    tree = Tree(f"[bold]{video}[/]{_what(home, video)}")
    speaking = generations.current(home)
    for content, depending in found.items():
        branch = tree
        if len(found) > 1:
            when = "as remembered now" if content == now else "as captured before"
            branch = tree.add(f"{when}, content {content[:12]}")
        _depending(branch, depending, speaking.sha if speaking else None)
    if not found:
        tree.add("nothing depends on it")
    console.print(tree, highlight=False)


def _what(home: Home, video: str) -> str:
    if record := forgetting.all_forgotten(home).get(video):
        return f", [red]forgotten[/] {record.forgotten}"
    entry = store.entry(home, video)
    if entry is None:
        return ", not ingested yet"
    return f" ({', '.join(entry.roles)}): {entry.frames} frames, {entry.clips} clips"


def _depending(tree: Tree, found: Dependents, speaking: str | None) -> None:
    if not found.manifests:
        tree.add("nothing has learned from it")
    else:
        tree.add(f"is in {_count(len(found.manifests), 'manifest')}")
        learned = tree.add(
            f"{_count(len(found.trained) + len(found.descending), 'checkpoint')} learned from it"
        )
        learned.add(f"trained on it: {_models(found.trained.values())}")
        if found.descending:
            learned.add(f"on top of these alone: {_models(found.descending.values())}")
    if found.generations:
        spoke = tree.add(f"{_count(len(found.generations), 'generation')} learned from it")
        for sha in reversed(found.generations):
            made, leaning = found.predictions.get(sha, {}), found.leaning.get(sha, {})
            now = ", speaks now" if sha == speaking else ""
            branch = spoke.add(
                f"{sha[:12]}{now}: {_count(sum(made.values()), 'prediction')} of "
                f"{_count(len(made), 'video')}, {sum(leaning.values())} of them lean on a moment "
                "of it"
                if made
                else f"{sha[:12]}{now}: no predictions"
            )
            if sha == speaking:
                for video, number in list(leaning.items())[:MOST_VIDEOS]:
                    branch.add(f"{video}: {number} of {made[video]}")
                if len(leaning) > MOST_VIDEOS:
                    branch.add(f"… and {_count(len(leaning) - MOST_VIDEOS, 'video')} more")
    if found.of_it:
        tree.add(
            f"of its own frames: {_count(sum(found.of_it.values()), 'prediction')} by "
            f"{_count(len(found.of_it), 'generation')}"
        )


def _models(models: Iterable[str]) -> str:
    return ", ".join(f"{count} {model}" for model, count in sorted(Counter(models).items()))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
