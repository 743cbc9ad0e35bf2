"""A generation: the checkpoints and embeddings that belong together, published at once.

Its record never changes. What becomes of it, whether it was published, refused by the gate or
withdrawn by a rollback, is a history beside the record, to which is only added.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from upath import UPath

from aela.learning import checkpoints
from aela.learning.checkpoints import MODELS
from aela.memory import catalogue
from aela.memory import manifest as manifests
from aela.memory.forget import marked
from aela.storage import (
    Home,
    canonical_json,
    read_json,
    sha256,
    starting,
    write_bytes,
    write_json,
)

State = Literal["published", "refused", "withdrawn"]


class UnknownGeneration(LookupError):
    """No such generation in this home, or none yet."""


class NoWayBack(ValueError):
    """A generation that cannot speak again."""


@dataclass(frozen=True)
class Generation:
    """Hashes of everything a prediction depends on; `threshold` is the novelty to stay silent at.

    `sha` covers all of it but `created` and `parent`, so publishing the same again changes nothing.
    """

    image_encoder: str
    mel_autoencoder: str
    word_autoencoder: str
    associator: str
    pairs: str
    manifest: str
    threshold: float
    parent: str | None = None
    created: str = ""

    @property
    def sha(self) -> str:
        return sha256(
            canonical_json({k: v for k, v in asdict(self).items() if k not in _NOT_CONTENT})
        )


_NOT_CONTENT = ("created", "parent")


@dataclass(frozen=True)
class Figures:
    """How well a generation agrees with memory (`aela.mimicry.agreement`), 0 to 1.

    Attributes:
        moments: how many were asked about; before: the agreement of the generation that spoke, on
            the same moments, None where there was none to compare with.
    """

    agreement: float
    moments: int
    before: float | None = None


@dataclass(frozen=True)
class Event:
    """What became of a generation once; `when` as ISO text, `reason` a sentence or nothing."""

    state: State
    when: str
    reason: str = ""
    figures: Figures | None = None


def write(home: Home, generation: Generation) -> None:
    """Write the record of a generation, without making it the one that speaks."""
    path = home.generations / f"{generation.sha}.json"
    if not path.exists():
        write_json(path, {**asdict(generation), "created": _now()})


def publish(
    home: Home, generation: Generation, reason: str = "", figures: Figures | None = None
) -> None:
    """Make this the generation that speaks: one rename, after everything it names is written.

    Publishing the one that speaks changes nothing.
    """
    write(home, generation)
    events, speaks = history(home, generation.sha), current(home)
    if speaks and speaks.sha == generation.sha and events and events[-1].state == "published":
        return
    write_bytes(home.generations / "current", generation.sha.encode())
    _add(home, generation.sha, "published", reason, figures)


def refuse(home: Home, generation: Generation, reason: str, figures: Figures | None = None) -> None:
    """Write a generation down as one that is not to speak."""
    write(home, generation)
    _add(home, generation.sha, "refused", reason, figures)


def roll_back(home: Home, to: Generation | None = None) -> Generation:
    """Withdraw the generation that speaks and have another speak again, which is returned.

    Args:
        to: the parent of the one that speaks, if None.

    Raises:
        NoWayBack: there is none to go back to, it speaks already, was never published or refused,
            or learned from something forgotten since.
        UnknownGeneration: nothing was learned yet.
    """
    leaving = required(home)
    if to is None:
        if leaving.parent is None:
            raise NoWayBack(
                f"The generation {leaving.sha[:12]} has no parent to go back to; name another from "
                "`aela generations ls`."
            )
        to = read(home, leaving.parent)
    if to.sha == leaving.sha:
        raise NoWayBack(f"The generation {to.sha[:12]} speaks already; name another one.")
    if state(home, to) is None:
        raise NoWayBack(
            f"The generation {to.sha[:12]} was only made to be compared with; name another from "
            "`aela generations ls`."
        )
    if gone := forgotten_by(home, to):
        raise NoWayBack(
            f"The generation {to.sha[:12]} learned from {gone}, forgotten since; name one that "
            "did not, or let it learn again."
        )
    # First the withdrawal: killed in between, what leaves must not be asked for and published anew.
    _add(home, leaving.sha, "withdrawn", f"Rolled back to {to.sha[:12]}.")
    publish(home, to, f"Rolled back from {leaving.sha[:12]}.")
    return to


def read(home: Home, sha: str) -> Generation:
    """
    Raises:
        UnknownGeneration: there is none of that hash.
    """
    path = home.generations / f"{sha}.json"
    if not path.exists():
        raise UnknownGeneration(f"There is no generation {sha} in {home.root}.")
    return Generation(**read_json(path))


def find(home: Home, name: str) -> Generation:
    """The generation whose hash starts so.

    Raises:
        UnknownGeneration: none or several do.
    """
    matching = starting(name, catalogue.names(home.generations))
    if len(matching) != 1:
        how = "are several generations" if matching else "is no generation"
        raise UnknownGeneration(
            f"There {how} {name!r} in {home.root}; `aela generations ls` lists all."
        )
    return read(home, matching[0])


def known(home: Home) -> list[Generation]:
    """All generations, oldest first. Only what is new is read for it (`catalogue`)."""
    records = catalogue.read(home, home.generations).values()
    return sorted((Generation(**record) for record in records), key=lambda g: (g.created, g.sha))


def history(home: Home, sha: str) -> list[Event]:
    """What became of a generation, oldest first; nothing of one that was made to be compared."""
    path = _history(home, sha)
    return [_event(**event) for event in read_json(path)] if path.exists() else []


def state(home: Home, generation: Generation) -> State | None:
    """What became of it last; None for one that was only made to be compared with.

    One without a history was published if it or a descendant speaks: homes from before there were
    histories hold such ones, and so do those whose publishing was killed half-way.
    """
    if events := history(home, generation.sha):
        return events[-1].state
    return "published" if generation.sha in _line(home) else None


def made_of(
    home: Home, image_encoder: str, word_autoencoder: str, manifest: str
) -> Generation | None:
    """The newest generation that was published, refused or withdrawn and was made of just these."""
    wanted = {
        "image_encoder": image_encoder,
        "word_autoencoder": word_autoencoder,
        "manifest": manifest,
    }
    for generation in reversed(known(home)):
        made = {name: getattr(generation, name) for name in wanted}
        if made == wanted and state(home, generation):
            return generation
    return None


def forgotten_by(home: Home, generation: Generation) -> str:
    """Which videos a generation learned from were forgotten since, in words; "" if none were."""
    seen = manifests.read(home, generation.manifest)
    kept = {entry.video for entry in manifests.remaining(home, seen).entries}
    if gone := [entry.video for entry in seen.entries if entry.video not in kept]:
        return ", ".join(gone)
    for model in MODELS:
        checkpoint = checkpoints.read(home, model, getattr(generation, model))
        if marked(home, model, checkpoint.sha, checkpoint.card.manifest):
            return f"something in the past of its {model}"
    return ""


def current(home: Home) -> Generation | None:
    """The generation that speaks, or None before the first."""
    pointer = home.generations / "current"
    return read(home, pointer.read_text().strip()) if pointer.exists() else None


def required(home: Home) -> Generation:
    """The generation that speaks.

    Raises:
        UnknownGeneration: nothing was learned yet.
    """
    generation = current(home)
    if generation is None:
        raise UnknownGeneration(
            f"Nothing was learned yet in {home.root}; run `aela learn VIDEO...` first."
        )
    return generation


def _add(
    home: Home, sha: str, state: State, reason: str = "", figures: Figures | None = None
) -> None:
    events = [*history(home, sha), Event(state, _now(), reason, figures)]
    write_json(_history(home, sha), [asdict(event) for event in events])


def _event(state: State, when: str, reason: str, figures: dict[str, Any] | None) -> Event:
    return Event(state, when, reason, Figures(**figures) if figures else None)


def _history(home: Home, sha: str) -> UPath:
    return home.generation_histories / f"{sha}.json"


def _line(home: Home) -> set[str]:
    """The generation that speaks and its ancestors."""
    return {generation.sha for generation in _upwards(home)}


def _upwards(home: Home) -> Iterator[Generation]:
    generation = current(home)
    seen = set()
    while generation and generation.sha not in seen:
        yield generation
        seen.add(generation.sha)
        parent = generation.parent
        above = home.generations / f"{parent}.json"
        generation = read(home, parent) if parent and above.exists() else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
