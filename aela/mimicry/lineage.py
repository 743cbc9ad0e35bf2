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
from typing import Any

import pyarrow.parquet as pq

from aela.learning import checkpoints
from aela.learning.checkpoints import MODELS, TRAINED, Card, Checkpoint
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.forget import LEANS_ON, names_moment_of
from aela.memory.manifest import Entry, Manifest
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.storage import Home, open_parquet


@dataclass(frozen=True)
class Moment:
    """One remembered frame or clip: where it lies in its video, as it was when it was learned from.

    `row` is its number among the video's frames or clips.
    """

    video: str
    content: str
    sense: str
    row: int


@dataclass(frozen=True)
class Origins:
    """What something was learned from, all the way back.

    Attributes:
        checkpoints: by hash, those it consists of first, then their parents and inputs.
        manifests: by hash, those that any of these learned from.
        missing: hashes that are named and no longer there.
    """

    checkpoints: dict[str, Checkpoint]
    manifests: dict[str, Manifest]
    missing: tuple[str, ...] = ()

    @property
    def entries(self) -> set[Entry]:
        """Each video with the content that was learned from; several times if it was captured
        anew in between.
        """
        return {entry for manifest in self.manifests.values() for entry in manifest.entries}

    def moments(self) -> Iterator[Moment]:
        """Every frame and clip that was there to learn from."""
        for entry in sorted(self.entries, key=lambda entry: (entry.video, entry.content)):
            for sense, count in (("frame", entry.frames), ("clip", entry.clips)):
                for row in range(count):
                    yield Moment(entry.video, entry.content, sense, row)

    def saw(self, video: str) -> list[Checkpoint]:
        """The checkpoints whose own training saw a video, oldest first."""
        held = {sha for sha, manifest in self.manifests.items() if _holds(manifest, video, None)}
        seen = [c for c in self.checkpoints.values() if c.card.manifest in held]
        return sorted(seen, key=lambda checkpoint: checkpoint.card.created)


@dataclass(frozen=True)
class Dependents:
    """What depends on a video, or on one content of it.

    Attributes:
        manifests: those that hold it.
        trained: checkpoints that were trained on one of these, by hash; descending: those that
            were not, but have a parent or an input that learned from it.
        generations: those that learned from it.
        leaning: by generation and video, how many predictions name a moment of it as nearest.
        by_generation: by generation and video, how many predictions come from a generation that
            learned from it.
        of_it: by generation, how many predictions were made of its own frames.
    """

    video: str
    manifests: set[str] = field(default_factory=set)
    trained: dict[str, Card] = field(default_factory=dict)
    descending: dict[str, Card] = field(default_factory=dict)
    generations: set[str] = field(default_factory=set)
    leaning: dict[str, dict[str, int]] = field(default_factory=dict)
    by_generation: dict[str, dict[str, int]] = field(default_factory=dict)
    of_it: dict[str, int] = field(default_factory=dict)


class Lineage:
    """All names of a home, read once: manifests, cards and generations."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.manifests = {
            path.stem: manifests.read(home, path.stem) for path in home.all_manifests.glob("*.json")
        }
        self.checkpoints = {
            path.stem: checkpoints.read(home, path.parent.name, path.stem)
            for path in home.all_models.glob("*/*.json")
        }
        self.generations = {
            path.stem: generations.read(home, path.stem) for path in home.generations.glob("*.json")
        }

    def origins(self, shas: Iterable[str]) -> Origins:
        """What checkpoints, named by hash, learned from, all the way back."""
        found: dict[str, Checkpoint] = {}
        seen: dict[str, Manifest] = {}
        missing: dict[str, None] = {}
        left = list(shas)
        while left:
            sha = left.pop(0)
            if sha in found or sha in missing:
                continue
            if sha not in self.checkpoints:
                missing[sha] = None
                continue
            found[sha] = checkpoint = self.checkpoints[sha]
            if manifest := self.manifests.get(checkpoint.card.manifest):
                seen[checkpoint.card.manifest] = manifest
            else:
                missing[checkpoint.card.manifest] = None
            left += made_of(checkpoint.card)
        return Origins(found, seen, tuple(missing))

    def origins_of(self, generation: Generation) -> Origins:
        """What a generation learned from, all the way back."""
        return self.origins(getattr(generation, model) for model in MODELS)

    def line(self, generation: Generation) -> list[Generation]:
        """A generation, the one that spoke before it, and so on to the first that is known."""
        line = {generation.sha: generation}
        while (parent := generation.parent) in self.generations and parent not in line:
            generation = self.generations[parent]
            line[parent] = generation
        return list(line.values())

    def dependents(self, video: str, content: str | None = None) -> Dependents:
        """What depends on a video, by its whole key, forgotten or not.

        Args:
            content: only on these rows of it; on all that memory ever held of it where None.
        """
        found = Dependents(video)
        found.manifests.update(
            sha for sha, manifest in self.manifests.items() if _holds(manifest, video, content)
        )
        found.trained.update(
            (sha, checkpoint.card)
            for sha, checkpoint in self.checkpoints.items()
            if checkpoint.card.manifest in found.manifests
        )
        while more := {
            sha: checkpoint.card
            for sha, checkpoint in self.checkpoints.items()
            if sha not in found.trained
            and sha not in found.descending
            and any(s in found.trained or s in found.descending for s in made_of(checkpoint.card))
        }:
            found.descending.update(more)
        found.generations.update(
            sha
            for sha, generation in self.generations.items()
            if any(
                getattr(generation, model) in of
                for model in MODELS
                for of in (found.trained, found.descending)
            )
        )
        self._count_predictions(found, content)
        return found

    def contents(self, video: str) -> list[str]:
        """The contents under which manifests hold a video: several if it was captured anew."""
        return sorted(
            {e.content for m in self.manifests.values() for e in m.entries if e.video == video}
        )

    def _count_predictions(self, found: Dependents, content: str | None) -> None:
        for path in sorted(self.home.all_predictions.glob("*/*.parquet")):
            sha, video = path.stem, path.parent.name
            with open_parquet(path) as file:
                table = pq.ParquetFile(file)
                made_of = (table.schema_arrow.metadata or {}).get(b"content", b"").decode()
                number = table.metadata.num_rows
                if video == found.video and content in (None, made_of):
                    found.of_it[sha] = number
                if sha not in found.generations:
                    continue
                found.by_generation.setdefault(sha, {})[video] = number
                # The nearest moments are of the generation's own manifest.
                if self.generations[sha].manifest in found.manifests:
                    rows = table.read(LEANS_ON).to_pylist()
                    leaning = sum(names_moment_of(row, {found.video}) for row in rows)
                    if leaning:
                        found.leaning.setdefault(sha, {})[video] = leaning


def made_of(card: Card) -> list[str]:
    """The checkpoints that one was trained from: inputs and parent."""
    below = [sha for model, sha in card.inputs.items() if model in TRAINED]
    return [*below, *([card.parent] if card.parent else [])]


def state(home: Home, entry: Entry) -> str:
    """What became of the rows that a manifest names: "remembered", "forgotten" or "captured anew"."""
    if store.content(home, entry.video) == entry.content:
        return "remembered"
    return "forgotten" if manifests.forgotten(home, entry.video) else "captured anew"


def told(found: Dependents) -> dict[str, Any]:
    """What depends on a video, as plain JSON values."""
    cards = {"trained": found.trained, "descending": found.descending}
    return {
        "video": found.video,
        "manifests": sorted(found.manifests),
        **{
            name: {sha: card.model for sha, card in sorted(of.items())}
            for name, of in cards.items()
        },
        "generations": sorted(found.generations),
        "leaning": found.leaning,
        "by_generation": found.by_generation,
        "of_it": found.of_it,
    }


def _holds(manifest: Manifest, video: str, content: str | None) -> bool:
    return any(e.video == video and content in (None, e.content) for e in manifest.entries)
