"""Lineage, both ways: what a generation was learned from, and what depends on a video.

Everything that a home holds of manifests, cards, generations and predictions is named by hashes of
its content, and each names what it was made of: so the walk needs nothing but these names. A video
that was captured anew is another content under the same key; one that was forgotten is still named
by the manifests that held it.

A checkpoint learned from a video when its own manifest holds it, or when its parent or one of its
inputs did. A generation learned from what its checkpoints did. The parent of a generation is only
the one that spoke before it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow.parquet as pq
from upath import UPath

from aela.learning import checkpoints
from aela.learning.checkpoints import MODELS, TRAINED, Card, Checkpoint, UnknownCheckpoint
from aela.memory import manifest as manifests
from aela.memory.forget import LEANS_ON, learned_from, names_moment_of
from aela.memory.manifest import Entry, Manifest, UnknownManifest
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation, UnknownGeneration
from aela.mimicry.predict import made_of
from aela.storage import Home, open_parquet


@dataclass(frozen=True)
class Moment:
    """One remembered frame or clip (`sense`), as it was learned from.

    `row` is its number among the frames or clips of the video under that content.
    """

    video: str
    content: str
    sense: str
    row: int


@dataclass(frozen=True)
class Origins:
    """What something was learned from, all the way back.

    Attributes:
        checkpoints: by hash, those it consists of first, then their inputs and parents.
        manifests: by hash, those that any of these was trained on.
        missing: what is named and no longer there, kind and hash.
    """

    checkpoints: dict[str, Checkpoint]
    manifests: dict[str, Manifest]
    missing: tuple[str, ...] = ()

    @property
    def entries(self) -> list[Entry]:
        """Each video with the content that was learned from; a video that was captured anew in
        between is there under both.
        """
        found = {entry for manifest in self.manifests.values() for entry in manifest.entries}
        return sorted(found, key=lambda entry: (entry.video, entry.content))

    def moments(self) -> Iterator[Moment]:
        """Every frame and clip that was there to learn from."""
        for entry in self.entries:
            for sense, count in (("frame", entry.frames), ("clip", entry.clips)):
                for row in range(count):
                    yield Moment(entry.video, entry.content, sense, row)

    def saw(self, video: str) -> list[Checkpoint]:
        """The checkpoints whose own training was on a manifest with this video, oldest first."""
        held = {sha for sha, manifest in self.manifests.items() if _holds(manifest, video)}
        seen = [c for c in self.checkpoints.values() if c.card.manifest in held]
        return sorted(seen, key=lambda checkpoint: checkpoint.card.created)

    def line(self, checkpoint: Checkpoint) -> list[Checkpoint]:
        """A checkpoint, its parent, and so on to the first that is known."""
        line = [checkpoint]
        while parent := self.checkpoints.get(line[-1].card.parent or ""):
            line.append(parent)
        return line


@dataclass(frozen=True)
class Dependents:
    """What depends on a video, or on one content of it.

    Attributes:
        manifests: hashes of those that hold it.
        trained: checkpoints that were trained on one of these, their models by hash.
        descending: those that were not, but have an input or a parent that learned from it.
        generations: those that consist of such checkpoints.
        predictions: by such a generation and video, how many it made.
        leaning: by generation and video, how many of these name a moment of it as nearest.
        of_it: by generation, whichever it learned from, how many look at its own frames.
    """

    video: str
    manifests: list[str]
    trained: dict[str, str]
    descending: dict[str, str]
    generations: list[str]
    predictions: dict[str, dict[str, int]] = field(default_factory=dict)
    leaning: dict[str, dict[str, int]] = field(default_factory=dict)
    of_it: dict[str, int] = field(default_factory=dict)


def origins(home: Home, named: Iterable[tuple[str, str]]) -> Origins:
    """What checkpoints, named by model and hash, learned from, all the way back."""
    found: dict[str, Checkpoint] = {}
    seen: dict[str, Manifest] = {}
    missing: dict[str, None] = {}
    left = list(named)
    while left:
        model, sha = left.pop(0)
        if sha in found:
            continue
        try:
            found[sha] = checkpoint = checkpoints.read(home, model, sha)
        except UnknownCheckpoint:
            missing[f"{model} {sha}"] = None
            continue
        left += _made_of(checkpoint.card)
        manifest = checkpoint.card.manifest
        try:
            seen[manifest] = seen.get(manifest) or manifests.read(home, manifest)
        except UnknownManifest:
            missing[f"manifest {manifest}"] = None
    return Origins(found, seen, tuple(missing))


def origins_of(home: Home, generation: Generation) -> Origins:
    """What a generation learned from, all the way back."""
    return origins(home, ((model, getattr(generation, model)) for model in MODELS))


def spoke_before(home: Home, generation: Generation) -> list[Generation]:
    """The parent of a generation, the parent of that, and so on to the first that is known."""
    line: dict[str, Generation] = {}
    while (parent := generation.parent) and parent not in line:
        try:
            line[parent] = generation = generations.read(home, parent)
        except UnknownGeneration:
            break
    return list(line.values())


def contents(home: Home, video: str) -> list[str]:
    """The contents under which manifests hold a video: several if it was captured anew."""
    return sorted(
        {e.content for _, m in _all_manifests(home) for e in m.entries if e.video == video}
    )


def dependents(home: Home, video: str, content: str | None = None) -> Dependents:
    """What depends on a video, remembered or forgotten.

    Args:
        video: its whole key.
        content: only what depends on these rows of it; on any that it ever had where None.
    """
    held = sorted(sha for sha, manifest in _all_manifests(home) if _holds(manifest, video, content))
    by_model = learned_from(home, set(held))
    learned = {sha: model for model, shas in by_model.items() for sha in shas}
    trained = {
        sha: model
        for sha, model in learned.items()
        if checkpoints.read(home, model, sha).card.manifest in held
    }
    known = [generations.read(home, path.stem) for path in home.generations.glob("*.json")]
    spoke = {
        generation.sha: generation
        for generation in sorted(known, key=lambda generation: (generation.created, generation.sha))
        if any(getattr(generation, model) in learned for model in MODELS)
    }
    descending = {sha: model for sha, model in learned.items() if sha not in trained}
    depending = Dependents(video, held, trained, descending, list(spoke))
    for path in sorted(home.all_predictions.glob("*/*.parquet")):
        _count(depending, path, content, spoke.get(path.stem))
    return depending


def _count(found: Dependents, path: UPath, content: str | None, by: Generation | None) -> None:
    """Count the predictions of one table, made by a generation that learned from the video."""
    sha, video = path.stem, path.parent.name
    with open_parquet(path, LEANS_ON) as file:
        table = pq.ParquetFile(file)
        if video == found.video and content in (None, made_of(table.schema_arrow)):
            found.of_it[sha] = table.metadata.num_rows
        if by is None:
            return
        found.predictions.setdefault(sha, {})[video] = table.metadata.num_rows
        # The nearest moments are those of the generation's own manifest.
        if by.manifest in found.manifests:
            rows = table.read(LEANS_ON, use_threads=False).to_pylist()
            if leaning := sum(names_moment_of(row, {found.video}) for row in rows):
                found.leaning.setdefault(sha, {})[video] = leaning


def _made_of(card: Card) -> list[tuple[str, str]]:
    """The checkpoints that one was trained from, model and hash: inputs and parent."""
    below = [(model, sha) for model, sha in card.inputs.items() if model in TRAINED]
    return [*below, *([(card.model, card.parent)] if card.parent else [])]


def _all_manifests(home: Home) -> Iterator[tuple[str, Manifest]]:
    for path in home.all_manifests.glob("*.json"):
        yield path.stem, manifests.read(home, path.stem)


def _holds(manifest: Manifest, video: str, content: str | None = None) -> bool:
    return any(e.video == video and content in (None, e.content) for e in manifest.entries)
