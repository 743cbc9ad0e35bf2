"""What one generation has that another has not, and what that changed in its answers."""

from dataclasses import dataclass
from typing import Any

from aela.learning import checkpoints
from aela.learning.checkpoints import MODELS
from aela.memory import manifest as manifests
from aela.mimicry.agreement import Comparison, compare
from aela.mimicry.generation import Generation
from aela.mimicry.predict import predicted, read_predictions
from aela.mimicry.sayings import Heard, Words
from aela.storage import Home


@dataclass(frozen=True)
class Answers:
    """How many looks at a watched video got another answer, and the first of them.

    Another clip of the same word, by its sound, is the same answer. `first`: when in the video, in
    seconds, and both answers: the remembered clip, None for silence.
    """

    looks: int
    changed: int
    first: tuple[float, Heard | None, Heard | None] | None


@dataclass(frozen=True)
class Difference:
    """From generation `old` to `new`.

    Attributes:
        checkpoints: by model, both hashes of those that changed.
        settings: by name, as in `image_encoder.budget.steps`, both values of those that differ;
            None for what there is not.
        added, removed, recaptured: videos of the memory learned from.
        comparison: on the moments that both learned from, None if there are none.
        answers: by watched video that both have predictions of.
    """

    old: Generation
    new: Generation
    checkpoints: dict[str, tuple[str, str]]
    settings: dict[str, tuple[Any, Any]]
    added: list[str]
    removed: list[str]
    recaptured: list[str]
    comparison: Comparison | None
    answers: dict[str, Answers]


def difference(home: Home, old: Generation, new: Generation) -> Difference:
    """
    Raises:
        UnknownCheckpoint, UnknownManifest: something that they name is gone.
        ChangedMemory: memory no longer holds what they learned from.
    """
    changed = {
        model: (getattr(old, model), getattr(new, model))
        for model in MODELS
        if getattr(old, model) != getattr(new, model)
    }
    settings = {}
    for model, shas in changed.items():
        before, after = (
            _flat(checkpoints.read(home, model, sha).card.settings, model) for sha in shas
        )
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                settings[name] = before.get(name), after.get(name)
    held, holds = (
        {entry.video: entry.content for entry in manifests.read(home, g.manifest).entries}
        for g in (old, new)
    )
    words = Words(home)
    both = set(predicted(home, old.sha)).intersection(predicted(home, new.sha))
    return Difference(
        old,
        new,
        changed,
        settings,
        sorted(holds.keys() - held.keys()),
        sorted(held.keys() - holds.keys()),
        sorted(v for v in held.keys() & holds.keys() if held[v] != holds[v]),
        compare(home, old, new),
        {video: _answers(home, video, old.sha, new.sha, words) for video in sorted(both)},
    )


def _flat(settings: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Nested settings by one name each, with dots."""
    flat = {}
    for name, value in settings.items():
        nested = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}.{name}") if nested else {f"{prefix}.{name}": value}
    return flat


def _answers(home: Home, video: str, old: str, new: str, words: Words) -> Answers:
    before, after = (
        {
            row["time_s"]: (row["clip_video"], row["clip_start_s"]) if row["said"] else None
            for row in read_predictions(home, video, sha).to_pylist()
        }
        for sha in (old, new)
    )
    looks = sorted(before.keys() & after.keys())
    changed = [t for t in looks if not words.same_answer(before[t], after[t])]
    first = (changed[0], before[changed[0]], after[changed[0]]) if changed else None
    return Answers(len(looks), len(changed), first)
