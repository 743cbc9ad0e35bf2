"""What happens when in each video: what is shown where, said, covered and blurred.

The fields of these classes are those of `labels.json`. Times are seconds from a video's start.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aela.nursery.rooms import NEW_ROOMS, TRAINING_ROOMS, Room
from aela.nursery.settings import NurserySettings
from aela.nursery.soundtrack import Word
from aela.nursery.things import THINGS, UNKNOWN_THINGS, Thing
from aela.nursery.voice import Saying

SPEAKERS = {"train_a": "en-us+f3", "train_b": "en-us+m3", "new": "en-gb-x-rp+f5"}
"""The voice of each part; `test_mixed` is spoken by `train_a`."""

UTTERANCES_PER_SECOND = 6.5 / 30
SECONDS_PER_BLUR = 4.5  # a fast pan about this often
SECONDS_PER_HAND = 10.0  # in training, a hand comes in about this often
TRAINING_VIEWS = ((0, 150), (120, 270))  # degrees shown by the videos _a and _b
TEST_VIEWS = ((275, 312), (318, 355))  # never shown in training
ANY_VIEWS = (0, 80)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Segment:
    start: float
    end: float
    object: str | None
    word: str | None
    kind: str  # known, background, hand or unknown_object
    occluded: bool
    views: list[int]  # degrees about the upright axis, from first to last shown
    background: str  # name of the room


@dataclass(frozen=True)
class Utterance:
    start: float
    end: float
    word: str
    speaker: str
    take: str
    source: str
    level_db: float


@dataclass(frozen=True)
class Disturbance:
    start: float
    end: float
    kind: str  # knock or noise_burst


@dataclass(frozen=True)
class Script:
    """One video before it is filmed. `seed` drives the camera, the light and the noise."""

    file: str
    seed: tuple[int, int]
    duration: float
    snr_db: float
    segments: list[Segment]
    utterances: list[Utterance]
    words: list[Word]  # the sound of each utterance
    disturbances: list[Disturbance]
    blur_intervals: list[Interval]
    occlusion_intervals: list[Interval]


@dataclass(frozen=True)
class Scene:
    """One segment to be shown: `times_spoken` sayings at its end, or spread over it in training."""

    seconds: float
    kind: str
    thing: Thing | None
    room: Room
    views: tuple[int, int]
    occluded: bool = False
    sayings: tuple[Saying, ...] = ()


@dataclass(frozen=True)
class Plan:
    """The scenes of one video, before the sounds and their lengths are known."""

    file: str
    seed: tuple[int, int]
    scenes: tuple[Scene, ...]


def plan_videos(settings: NurserySettings) -> list[Plan]:
    """All videos of a set: two for each thing, then the tests."""
    things = THINGS[: settings.things]
    plans = []
    for n, thing in enumerate(things):
        for part, rooms_on in (("a", 0), ("b", 1 + n // len(TRAINING_ROOMS) % 3)):
            seed = (settings.seed, len(plans))
            rng = np.random.default_rng(seed)
            room = TRAINING_ROOMS[(n + rooms_on) % len(TRAINING_ROOMS)]
            count = max(
                2, math.floor(settings.train_seconds * UTTERANCES_PER_SECOND + rng.random())
            )
            sayings = _sayings(thing, SPEAKERS[f"train_{part}"], count, rng)
            views = TRAINING_VIEWS[part == "b"]
            scene = Scene(settings.train_seconds, "known", thing, room, views, sayings=sayings)
            plans.append(Plan(f"train/{thing.name}_{part}.mp4", seed, (scene,)))
    seed = (settings.seed, len(plans))
    plans.append(Plan("test/test_mixed.mp4", seed, _mixed_scenes(settings, things, seed)))
    if settings.new_speaker_test:
        seed = (settings.seed, len(plans))
        scenes = _new_speaker_scenes(settings, things, seed)
        plans.append(Plan("test/test_new_speaker.mp4", seed, scenes))
    return plans


def _sayings(thing: Thing, voice: str, count: int, rng: np.random.Generator) -> tuple[Saying, ...]:
    return tuple(
        Saying(thing.word, voice, int(rng.integers(125, 185)), int(rng.integers(35, 66)))
        for _ in range(count)
    )


def _mixed_scenes(
    settings: NurserySettings, things: Sequence[Thing], seed: tuple[int, int]
) -> tuple[Scene, ...]:
    """Each known thing once clear and once behind a hand, two unknown things, empty rooms and
    bare hands, in random order."""
    rng = np.random.default_rng(seed)
    seconds = settings.test_segment_seconds
    scenes = []

    def room() -> Room:
        return TRAINING_ROOMS[rng.integers(len(TRAINING_ROOMS))]

    for n, thing in enumerate(things):
        for occluded in (False, True):
            views = TEST_VIEWS[(n + occluded) % 2]
            sayings = _sayings(thing, SPEAKERS["train_a"], int(rng.integers(1, 3)), rng)
            scenes.append(Scene(seconds, "known", thing, room(), views, occluded, sayings))
    scenes += [Scene(seconds, "unknown_object", t, room(), ANY_VIEWS) for t in UNKNOWN_THINGS]
    for kind in ("background", "hand"):
        scenes += [Scene(seconds * 2 / 3, kind, None, room(), (0, 0)) for _ in range(2)]
    return tuple(scenes[i] for i in rng.permutation(len(scenes)))


def _new_speaker_scenes(
    settings: NurserySettings, things: Sequence[Thing], seed: tuple[int, int]
) -> tuple[Scene, ...]:
    rng = np.random.default_rng(seed)
    scenes = []
    for n, i in enumerate(rng.permutation(len(things))):
        sayings = _sayings(things[i], SPEAKERS["new"], int(rng.integers(1, 3)), rng)
        room, views = NEW_ROOMS[n % len(NEW_ROOMS)], TEST_VIEWS[n % 2]
        scene = Scene(
            settings.test_segment_seconds, "known", things[i], room, views, False, sayings
        )
        scenes.append(scene)
    return tuple(scenes)


def write_script(plan: Plan, words: Sequence[Word], fps: int) -> Script:
    """Set everything in time. `words` holds the sounds of the plan's sayings, in their order."""
    rng = np.random.default_rng((*plan.seed, 1))
    training = plan.file.startswith("train/")
    segments: list[Segment] = []
    utterances: list[Utterance] = []
    blurs: list[Interval] = []
    covers: list[Interval] = []
    start = 0.0
    for scene in plan.scenes:
        end = start + round(scene.seconds * fps) / fps
        thing = scene.thing
        segments.append(
            Segment(
                round(start, 3),
                round(end, 3),
                thing.name if thing else None,
                thing.word if thing and scene.kind == "known" else None,
                scene.kind,
                scene.occluded,
                list(range(scene.views[0], scene.views[1] + 1, 5)) if thing else [],
                scene.room.name,
            )
        )
        told = len(utterances)
        lengths = [w.seconds for w in words[told : told + len(scene.sayings)]]
        times = (_spread if training else _at_the_end)(start, end, lengths, rng)
        for n, (at, saying) in enumerate(zip(times, scene.sayings, strict=True)):
            source = f"espeak-ng {saying.words_per_minute} wpm, pitch {saying.pitch}"
            utterances.append(
                Utterance(
                    round(at, 3),
                    round(at + lengths[n], 3),
                    thing.word if thing else "",
                    saying.voice,
                    f"{n:02d}",
                    source,
                    round(float(rng.uniform(-4, 4)), 1),
                )
            )
        blurs += _sometimes(start, end, SECONDS_PER_BLUR, (0.5, 0.75), rng)
        if scene.occluded:
            covers.append((round(start + 0.4, 3), round(end - 0.2, 3)))
        elif training:
            covers += _sometimes(start, end, SECONDS_PER_HAND, (1.2, 1.8), rng)
        start = end
    wanted = int(rng.random() < 0.3) if training else max(1, round(start / 40))
    return Script(
        plan.file,
        plan.seed,
        start,
        round(float(rng.uniform(24, 27)), 1),
        segments,
        utterances,
        list(words),
        _disturbances(start, utterances, wanted, rng),
        blurs,
        covers,
    )


def _spread(
    start: float, end: float, lengths: Sequence[float], rng: np.random.Generator
) -> list[float]:
    """Start times at irregular intervals, one in each of equal shares of the time."""
    share = (end - start) / max(1, len(lengths))
    return [
        start + n * share + 0.3 + rng.uniform(0, max(0.0, share - length - 0.9))
        for n, length in enumerate(lengths)
    ]


def _at_the_end(
    start: float, end: float, lengths: Sequence[float], rng: np.random.Generator
) -> list[float]:
    """Start times such that the last word ends just before `end`."""
    times = []
    at = end - rng.uniform(0.3, 0.5)
    for length in reversed(lengths):
        at -= length
        times.append(at)
        at -= rng.uniform(0.5, 0.7)
    return times[::-1]


def _sometimes(
    start: float,
    end: float,
    every_s: float,
    lasting_s: tuple[float, float],
    rng: np.random.Generator,
) -> list[Interval]:
    """Intervals at random times, on average one in `every_s` seconds."""
    count = math.floor((end - start) / every_s + rng.random())
    share = (end - start) / max(1, count)
    intervals = []
    for n in range(count):
        length = rng.uniform(*lasting_s)
        at = start + n * share + rng.uniform(0.1, max(0.15, share - length - 0.1))
        intervals.append((round(at, 3), round(at + length, 3)))
    return intervals


def _disturbances(
    duration: float, utterances: Sequence[Utterance], wanted: int, rng: np.random.Generator
) -> list[Disturbance]:
    """Knocks and bursts at least 0.4 s away from every word; fewer where there is no room."""
    found: list[Disturbance] = []
    for _ in range(100):
        if len(found) == wanted:
            break
        length = rng.uniform(0.1, 0.3)
        at = rng.uniform(0.2, duration - length - 0.2)
        busy = [(u.start, u.end) for u in utterances] + [(d.start, d.end) for d in found]
        if all(at + length + 0.4 < a or at > b + 0.4 for a, b in busy):
            kind = "knock" if rng.random() < 0.5 else "noise_burst"
            found.append(Disturbance(round(at, 3), round(at + length, 3), kind))
    return sorted(found, key=lambda d: d.start)
