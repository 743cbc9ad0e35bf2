import numpy as np

from aela.learning import embeddings
from aela.memory import manifest as manifests
from aela.mimicry.novelty import (
    HALFWAY,
    memory_threshold,
    met_anew,
    nearest,
    novelty,
    threshold,
)
from aela.mimicry.recall import load_remembering
from aela.mimicry.settings import MimicrySettings
from aela.storage import Home
from tests.mimicry.taught import IMAGE, remember, teach


def _unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_nearest_is_sorted():
    columns, values = nearest(np.array([[0.1, 0.9, 0.5, 0.7]]), 3)
    assert columns.tolist() == [[1, 3, 2]]
    assert values.tolist() == [[0.9, 0.7, 0.5]]


def _memory() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Five things and two rooms: their directions, 20 frames of each thing, 20 of each room."""
    rng = np.random.default_rng(0)
    things, rooms = rng.normal(size=(5, 64)), rng.normal(size=(2, 64))
    frames = np.repeat(things, 20, axis=0) + 0.3 * rng.normal(size=(100, 64))
    ground = np.repeat(rooms, 20, axis=0) + 0.3 * rng.normal(size=(40, 64))
    return things, rooms, _unit(frames), _unit(ground)


def test_known_things_are_less_novel_than_strange_ones():
    rng = np.random.default_rng(1)
    things, _, memory, ground = _memory()
    times, videos = np.tile(np.arange(20.0), 5), np.repeat(np.arange(5), 20)
    beside = np.repeat([0, 1], 20)
    limit = threshold(memory, ground, times, videos, beside, MimicrySettings(quantile=0.95))
    known = novelty(_unit(things + 0.3 * rng.normal(size=(5, 64))), memory, ground, 4)
    strange = novelty(_unit(rng.normal(size=(50, 64))), memory, ground, 4)
    assert (known <= limit).all()
    assert (strange > limit).mean() > 0.95


def test_a_covered_thing_is_less_novel_than_the_bare_room():
    rng = np.random.default_rng(1)
    things, rooms, memory, ground = _memory()
    covered = _unit(things + 2.0 * rng.normal(size=(5, 64)))
    bare = _unit(rooms + 0.5 * things[:2] + 0.3 * rng.normal(size=(2, 64)))
    assert novelty(covered, memory, ground, 4).max() < novelty(bare, memory, ground, 4).min()
    nothing = np.zeros((0, 64), np.float32)  # without the ground the two are not told apart
    assert novelty(covered, memory, nothing, 4).max() > novelty(bare, memory, nothing, 4).min()


def test_with_too_little_memory_nothing_is_new():
    memory = _unit(np.eye(3, 8))
    nothing = np.zeros(0)
    times, videos = np.arange(3.0), np.zeros(3)
    assert threshold(memory, memory[:0], times, videos, nothing, MimicrySettings()) == 1.0
    ground, beside = _unit(np.eye(8)[4:6]), np.zeros(2)  # bare ground still is, by its nearness
    assert threshold(memory, ground, times, videos, beside, MimicrySettings()) == HALFWAY


def test_the_bare_room_stays_unknown_where_many_remembered_frames_show_only_that():
    rng = np.random.default_rng(1)
    things, rooms, memory, ground = _memory()
    times, videos = np.tile(np.arange(20.0), 5), np.repeat(np.arange(5), 20)
    beside, settings = np.tile([0, 1], 20), MimicrySettings()
    missed = np.arange(0, 100, 6)  # the thing was not found in these
    memory[missed] = _unit(rooms[missed % 4 // 2] + 0.5 * rng.normal(size=(len(missed), 64)))
    limit = threshold(memory, ground, times, videos, beside, settings)
    known = novelty(_unit(things + 0.3 * rng.normal(size=(5, 64))), memory, ground, 4)
    bare = novelty(_unit(rooms[:1] + 0.5 * rng.normal(size=(50, 64))), memory, ground, 4)
    assert known.max() <= limit
    assert (bare > limit).mean() > 0.9
    found = met_anew(memory, ground, times, videos, settings)
    assert (bare > np.quantile(found, settings.quantile)).mean() < 0.2  # the rest would be named


def test_what_was_seen_in_silence_stays_unknown(home: Home):
    taught = teach(home, rooms=2)
    spoken = taught.generation()
    eyes, ears, settings = spoken.image_encoder, spoken.word_autoencoder, MimicrySettings()
    before = memory_threshold(home, spoken.manifest, eyes, settings)
    silent = remember(home, "silent", namings=0)
    manifest = manifests.take(home)
    entry = next(entry for entry in manifest.entries if entry.video == silent)
    rng = np.random.default_rng(5)
    nameless = _unit(rng.normal(size=(1, IMAGE)) + 0.03 * rng.normal(size=(entry.frames, IMAGE)))
    of = (home, eyes, silent, entry.content)
    embeddings.write(*of, nameless)
    embeddings.write(*of, -nameless[:1], "ground")
    memory = load_remembering(home, manifest.sha, eyes, ears)
    limit = memory_threshold(home, manifest.sha, eyes, settings)
    assert limit == before
    strange = novelty(nameless, memory.images, memory.ground, settings.neighbours)
    assert strange.min() > limit
    pictures = _unit(taught.pictures)
    assert novelty(pictures, memory.images, memory.ground, settings.neighbours).max() <= limit
