"""What the report tells of memory is found in real homes, without labels."""

import itertools
from typing import Any

import numpy as np
import pytest
from upath import UPath

from aela.association.associator import load_associator
from aela.capture import SAMPLE_RATE_HZ, Clip, Frame
from aela.evaluation.forgetting import forgetting
from aela.evaluation.moment_map import laid_out
from aela.evaluation.silence import most_novel, novelties
from aela.evaluation.vocabulary import discover
from aela.learning import embeddings
from aela.memory import store, videos
from aela.mimicry import generation as generations
from aela.mimicry.recall import Mimic, load_remembering
from aela.mimicry.settings import DEFAULT
from aela.storage import Home
from tests.mimicry.taught import GREY, IMAGE, THINGS, WORD, Taught

SAYINGS = 3
PARTS = (350, 900, 2000, 4500, None)
"""What words are made of: buzzes through a resonance in Hz, and a hiss."""
WORDS = list(itertools.permutations(PARTS, 3))[::5][:THINGS]


class Tone:
    """A voice that says one tone, whatever is to be said."""

    def speak(self, codes: np.ndarray) -> list[np.ndarray]:
        return [np.full(100, 0.1, np.float32) for _ in codes]


def saying(thing: int, seed: int) -> np.ndarray:
    """The word of a thing, a little differently each time."""
    rng = np.random.default_rng(seed)
    pitch_hz, said = rng.uniform(100, 120), []
    for resonance_hz in WORDS[thing]:
        time_s = np.arange(int(rng.uniform(0.17, 0.23) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        part = np.diff(rng.normal(size=len(time_s) + 1))
        if resonance_hz is not None:
            hz = pitch_hz * np.arange(1, 40)[:, None]
            gain = 1 / (1 + ((hz - resonance_hz * rng.uniform(0.95, 1.05)) / 120) ** 2)
            part = (gain * np.sin(2 * np.pi * hz * time_s)).sum(axis=0)
        said.append(part / np.abs(part).max() * np.minimum(1, time_s / 0.02))
    return (0.2 * np.concatenate(said)).astype(np.float32)


def remember(home: Home, thing: int, room: int) -> str:
    file = UPath(home.root / "outside" / f"thing{thing}-{room}.bin")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(file.name.encode())
    video = videos.take_in(home, file, "learn", move=False)
    senses: list[Frame | Clip] = []
    for number in range(SAYINGS):
        sound = saying(thing, seed=100 * room + number)
        start_s = 3.0 * number
        senses.append(Frame(start_s, f"{thing} in {room}".encode(), 8, 8, 1.0, GREY))
        senses.append(Clip(start_s, start_s + len(sound) / SAMPLE_RATE_HZ, sound, 0.0, -20, 30))
    store.remember(home, video, senses)
    return video.video


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """Each thing is named three times in each of two rooms."""
    home = Home.at(tmp_path_factory.mktemp("taught"))
    rng = np.random.default_rng(0)
    keys = [remember(home, thing, room) for room in range(2) for thing in range(THINGS)]
    pictures = embeddings.unit(rng.normal(size=(THINGS, IMAGE)))
    return Taught(home, keys, pictures, rng.normal(size=(THINGS, WORD)) + 3)


def mimic(taught: Taught, right: float = 1.0) -> Mimic:
    generation = taught.generation(right)
    memory = load_remembering(
        taught.home, generation.manifest, generation.image_encoder, generation.word_autoencoder
    )
    encoder: Any = None
    speech: Any = Tone()
    associator = load_associator(taught.home, generation.associator, "cpu")
    return Mimic(generation, DEFAULT, memory, encoder, associator, speech, "cpu")


def test_words_are_found_by_ear_and_remembered_as_far_as_pictures_bring_them_to_mind(
    taught: Taught,
):
    found = discover(taught.home, mimic(taught, right=0.5))
    assert found.found == len(found.words) == THINGS
    for word in found.words:
        of_word = [video for (video, _), of in found.of_clips.items() if of == word.number]
        [thing] = {taught.thing(video) for video in of_word}
        assert (word.heard, word.videos) == (2 * SAYINGS, 2)
        assert set(word.pictures) == {f"{thing} in {room}".encode() for room in range(2)}
        assert len(word.own_voice) == 100
        assert word.remembered == (0 if thing < THINGS / 2 else 1)


def test_forgetting_shows_in_what_the_first_generation_learned(taught: Taught):
    home = taught.home
    first = taught.generation()
    generations.publish(home, first)
    assert forgetting(home, first).generations == {}
    last = taught.generation(right=0.5, seed=1)
    generations.publish(home, last)
    found = forgetting(home, generations.required(home))
    assert [*found.generations] == [first.sha, last.sha]
    assert found.generations[first.sha] > 0.99
    assert found.generations[last.sha] < 0.85
    assert [*found.videos] == taught.videos
    lost = [taught.thing(video) for video, share in found.videos.items() if share < 0.9]
    assert set(lost) == set(range(5))


def test_things_met_anew_are_less_novel_than_bare_ground(taught: Taught):
    of = mimic(taught)
    looks = {"watched-01234567": [{"time_s": 0.0, "novelty": 0.7, "said": False}]}
    found = novelties(of, looks)
    things, _, watched = found.values.values()
    assert len(things) == len(of.remembering.images)
    assert watched.tolist() == [0.7]
    assert np.median(things) <= found.threshold


def test_what_it_was_most_silent_at_is_shown_once_not_second_by_second():
    rows = [
        {"time_s": float(second), "novelty": novelty, "said": novelty < 0.4}
        for second, novelty in enumerate([0.1, 0.6, 0.7, 0.8, 0.3, 0.5, 0.5, 0.5, 0.5])
    ]
    shown = most_novel({"walk-01234567": rows})
    assert [(video, row["time_s"]) for video, row in shown] == [
        ("walk-01234567", 3.0),
        ("walk-01234567", 8.0),
    ]


def test_alike_moments_lie_together_on_the_map():
    things = np.arange(20) // 10
    places = laid_out((things[:, None] != things[None]).astype(float))
    assert places.min() == 0 and places.max() == 1
    one, other = places[things == 0], places[things == 1]
    apart = np.linalg.norm(one.mean(axis=0) - other.mean(axis=0))
    assert apart > 2 * max(one.std(axis=0).max(), other.std(axis=0).max())
