"""What is to be done now, and what waits for what: the home compared with what was made of it.

The sensors ask for it, and `aela status` tells it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import dagster as dg
from dagster import DagsterRun
from dagster._core.storage.tags import PARTITION_NAME_TAG

from aela.learning import checkpoints, schedule
from aela.learning.checkpoints import MODELS, Checkpoint
from aela.learning.schedule import Conditions, Known, Speaking, Training
from aela.memory import catalogue, videos
from aela.memory import manifest as manifests
from aela.memory.manifest import Manifest, UnknownManifest
from aela.memory.videos import Role
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.storage import Home
from aela_dagster import records
from aela_dagster.jobs import TRAINING
from aela_dagster.records import MOST_TRIES, Tries
from aela_dagster.watch import unwatched

LOOKED_UP = 200  # videos whose runs are asked for in one query
MOST_LOOKED_UP = 5 * LOOKED_UP  # in one tick
TRAINING_TAG = "aela/training"
GENERATION_TAG = "aela/generation"
ADDED_TAG = "aela/added"


class ToIngest(NamedTuple):
    """A recorded video that memory does not hold, and how often nothing has come of an ingest since
    it was dropped.
    """

    video: str
    roles: tuple[Role, ...]
    added: str
    tries: Tries


def to_ingest(instance: dg.DagsterInstance, home: Home) -> Iterator[ToIngest]:
    """What is to be ingested, oldest first, also what is under way or was set aside."""
    done = set(catalogue.names(home.index))
    missing = [video for video in videos.known(home) if video.video not in done]
    for start in range(0, min(len(missing), MOST_LOOKED_UP), LOOKED_UP):
        some = missing[start : start + LOOKED_UP]
        tags = {ADDED_TAG: [v.added for v in some], PARTITION_NAME_TAG: [v.video for v in some]}
        found = records.tries_by_video(instance, tags, records.IN_VAIN)
        for video in some:
            tries = found.get((video.video, video.added), Tries())
            yield ToIngest(video.video, video.roles, video.added, tries)


@dataclass(frozen=True)
class Standing:
    """How it stands with a model: the training to ask for now, if any, and why or why not.

    `coming`: it is being trained, or will be without anything new. `tries` are those of a training
    that is due.
    """

    training: Training | None
    why: str
    coming: bool
    tries: Tries = field(default_factory=Tries)


def standings(
    instance: dg.DagsterInstance,
    home: Home,
    conditions: Conditions,
    now_s: float,
    runs: list[DagsterRun],
) -> dict[str, Standing]:
    """How it stands with each model.

    Args:
        runs: those under way.
    """
    arriving = sum("learn" in v.roles and not v.tries.number for v in to_ingest(instance, home))
    known = what_is_known(home, arriving)
    training = records.trained_in(runs)
    found: dict[str, Standing] = {}
    for model in MODELS:
        coming = [other for other, standing in found.items() if standing.coming]
        next_one = schedule.next_training(model, known, conditions, now_s, coming)
        if model in training:
            found[model] = Standing(None, "It is being trained.", coming=True)
        elif isinstance(next_one, str):
            found[model] = Standing(None, next_one, coming=False)
        else:
            found[model] = _tried(instance, next_one, now_s)
    return found


def _tried(instance: dg.DagsterInstance, training: Training, now_s: float) -> Standing:
    tries = records.tries(instance, {TRAINING_TAG: training.key}, records.IN_VAIN)
    if records.set_aside(instance, tries):
        why = (
            f"It failed {MOST_TRIES} times, last: {records.reason(instance, tries.run_id)} Launch "
            f"the job {TRAINING[training.model].name} by hand, or drop in another video."
        )
        return Standing(None, why, coming=False)
    if rest_s := tries.rest_s(now_s):
        why = (
            f"It failed {times(tries.number)} and is tried again in {rest_s:.0f} s; last: "
            f"{records.reason(instance, tries.run_id)}"
        )
        return Standing(None, why, coming=True)
    return Standing(training, training.why, coming=True, tries=tries)


def what_is_known(home: Home, arriving: int) -> Known:
    """All that the schedule goes by, as it is in the home now."""
    current = {model: found for model in MODELS if (found := _current(home, model))}
    learned = {model: _manifest(home, found.card.manifest) for model, found in current.items()}
    everything = manifests.remembered(home)
    memory = manifests.within_bounds(home, everything)
    generation = generations.current(home)
    landed = {
        video.video: datetime.fromisoformat(video.added).timestamp()
        for video in videos.known(home, "learn")
    }
    return Known(
        memory=memory,
        left_out=frozenset(everything.entries).difference(memory.entries),
        landed=landed,
        arriving=arriving,
        current=current,
        learned=learned,
        speaking=_speaking(home, generation),
        withdrawn=_withdrawn(home, memory, current, learned, generation),
    )


def _current(home: Home, model: str) -> Checkpoint | None:
    pointer = home.models(model) / "current"
    return (
        _checkpoint(str(home.root), model, pointer.read_text().strip())
        if pointer.exists()
        else None
    )


@lru_cache(maxsize=32)
def _checkpoint(root: str, model: str, sha: str) -> Checkpoint:
    """Cards never change."""
    return checkpoints.read(Home.at(root), model, sha)


def _manifest(home: Home, sha: str) -> Manifest:
    """What a checkpoint was trained on; nothing, where that is not known any more."""
    try:
        return _read_manifest(str(home.root), sha)
    except UnknownManifest:
        return Manifest(())


@lru_cache(maxsize=32)
def _read_manifest(root: str, sha: str) -> Manifest:
    """Manifests never change."""
    return manifests.read(Home.at(root), sha)


def _speaking(home: Home, generation: Generation | None) -> Speaking | None:
    if generation is None:
        return None
    manifest = _manifest(home, generation.manifest)
    parts = generation.image_encoder, generation.word_autoencoder, generation.associator
    return Speaking(*parts, manifest)


def _withdrawn(
    home: Home,
    memory: Manifest,
    current: Mapping[str, Checkpoint],
    learned: Mapping[str, Manifest],
    speaking: Generation | None,
) -> bool:
    """Whether what is current was joined in a generation that was refused or rolled back."""
    if speaking is None or not {"image_encoder", "word_autoencoder"} <= current.keys():
        return False
    shared = schedule.common(memory, learned["image_encoder"], learned["word_autoencoder"])
    seen, heard = current["image_encoder"].sha, current["word_autoencoder"].sha
    made = generations.made_of(home, seen, heard, shared.sha)
    return made is not None and generations.state(home, made) in ("refused", "withdrawn")


@dataclass(frozen=True)
class Watching:
    """The videos to watch now, newest first, each with its tries, and what the others wait for."""

    now: dict[str, Tries]
    later: int
    why: str

    @property
    def over(self) -> bool:
        """Whether all is watched that can be."""
        return not self.now and not self.later


def to_watch(
    instance: dg.DagsterInstance,
    home: Home,
    generation: Generation,
    now_s: float,
    runs: list[DagsterRun],
) -> Watching:
    """What the generation is to watch.

    Args:
        runs: those under way.
    """
    missing = unwatched(home, generation)
    if not missing:
        return Watching({}, 0, "Every watched video has the current generation's predictions.")
    found = records.tries_by_video(instance, {GENERATION_TAG: generation.sha})
    busy = records.busy_with(runs)
    now: dict[str, Tries] = {}
    aside: dict[str, Tries] = {}
    resting: list[Tries] = []
    for video in missing:
        tries = found.get((video, generation.sha), Tries())
        if records.set_aside(instance, tries):
            aside[video] = tries
        elif video not in busy and tries.rest_s(now_s):
            resting.append(tries)
        elif video not in busy:
            now[video] = tries
    later = len(missing) - len(now) - len(aside)
    why = []
    if under_way := later - len(resting):
        why.append(f"{under_way} are being watched.")
    if resting:
        soonest = min(resting, key=lambda tries: tries.rest_s(now_s))
        why.append(
            f"{len(resting)} failed and are tried again in {soonest.rest_s(now_s):.0f} s; last: "
            f"{records.reason(instance, soonest.run_id)}"
        )
    if aside:
        video, tries = next(iter(aside.items()))
        why.append(
            f"{len(aside)} failed {MOST_TRIES} times; {video} last: "
            f"{records.reason(instance, tries.run_id)}"
        )
    return Watching(now, later, " ".join(why))


def times(number: int) -> str:
    """How often, in words."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
