"""A generation agrees with memory as far as it thinks of the words that were heard with things."""

import numpy as np
import pytest

from aela.memory.forget import forget
from aela.mimicry import agreement as agreeing
from aela.mimicry.agreement import Agreement, agreement, compare
from aela.mimicry.gate import judge
from aela.mimicry.generation import Generation
from aela.storage import Home
from tests.mimicry.taught import IMAGE, THINGS, WORD, Taught, remember, teach


@pytest.fixture
def taught(home: Home) -> Taught:
    return teach(home)


def share(taught: Taught, generation: Generation) -> float:
    found = agreement(taught.home, generation)
    assert found is not None
    return found[0].share


def test_who_knows_the_words_agrees_with_memory(taught: Taught):
    assert share(taught, taught.generation()) > 0.99
    assert 0.55 < share(taught, taught.generation(right=0.5)) < 0.85


@pytest.mark.parametrize(
    ("what", "made"),
    [
        ("things and words mixed up", {"right": 0.0}),
        ("all predictions alike", {"map_words": lambda w: np.tile(w[:1], (len(w), 1))}),
        ("all words alike", {"hears": lambda w: np.ones_like(w)}),
        ("all words nearly alike", {"hears": lambda w: np.ones_like(w) + 1e-12 * w}),
        ("nothing but nan", {"map_words": lambda w: np.full_like(w, np.nan)}),
    ],
)
def test_who_does_not_is_no_better_than_chance(taught: Taught, what: str, made: dict):
    assert share(taught, taught.generation(**made)) < 0.55, what


def test_spaces_that_differ_are_compared(taught: Taught):
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(WORD, WORD)))
    old = taught.generation()
    new = taught.generation(hears=lambda words: 100 * words @ turned, seed=1)
    found = compare(taught.home, old, new)
    assert found and found.holds
    assert found.new.share == pytest.approx(found.old.share, abs=0.02)


def test_who_learned_each_video_by_heart_is_no_better(taught: Taught):
    by_heart = taught.generation(by_heart=True)
    found = compare(taught.home, by_heart, taught.generation(seed=1))
    assert found and found.holds
    assert found.new.share == pytest.approx(found.old.share, abs=0.01)


def test_a_space_that_tells_only_two_kinds_of_words_loses(taught: Taught):
    def two(words: np.ndarray) -> np.ndarray:
        return np.where(words[:, :1] > np.median(taught.words[:, 0]), 1.0, -1.0) * np.ones(WORD)

    found = compare(taught.home, taught.generation(), taught.generation(hears=two, seed=1))
    assert found and not found.holds and found.new.share < 0.8


def test_only_what_both_learned_from_is_compared(taught: Taught):
    old = taught.generation()
    taught.videos.append(remember(taught.home, "new"))
    new = taught.generation(seed=1)
    found = compare(taught.home, old, new)
    assert found and found.moments == 4 * 30 and taught.videos[-1] not in found.new.videos
    for video in taught.videos[:30]:
        forget(taught.home, video)
    assert compare(taught.home, old, new) is None
    verdict = judge(taught.home, old, new)
    assert verdict.passed and "no two words" in verdict.reason


def test_the_gate_lets_an_equal_one_pass_and_refuses_one_that_forgot(taught: Taught):
    old = taught.generation()
    assert judge(taught.home, None, old).passed
    assert judge(taught.home, old, old).reason == "It speaks already."
    equal = judge(taught.home, old, taught.generation(seed=1))
    assert equal.passed and equal.figures and equal.comparison
    assert abs(equal.figures.agreement - (equal.figures.before or 0)) < equal.comparison.tolerance
    worse = judge(taught.home, old, taught.generation(right=0.7, seed=2))
    assert not worse.passed and worse.comparison
    assert taught.thing(worse.comparison.worst) < 3
    better = judge(taught.home, taught.generation(right=0.7, seed=2), old)
    assert better.passed


def test_what_learned_from_something_forgotten_does_not_go_on_speaking(taught: Taught):
    old = taught.generation()
    forget(taught.home, taught.videos[0])
    verdict = judge(taught.home, old, taught.generation(right=0.0, seed=1))
    assert verdict.passed and f"{taught.videos[0]} was forgotten" in verdict.reason


def test_without_another_word_nothing_is_measured(home: Home):
    only = Taught(home, [remember(home, "cup", 1)], np.ones((THINGS, IMAGE)), np.ones((THINGS, 8)))
    generation = only.generation()
    assert agreement(home, generation) is None
    assert judge(home, None, generation).passed


def test_of_much_memory_a_sample_is_compared(taught: Taught, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agreeing, "MOST_VIDEOS", 20)
    monkeypatch.setattr(agreeing, "MOST_MOMENTS", 40)
    found = compare(taught.home, taught.generation(), taught.generation(right=0.0, seed=1))
    assert found and found.moments == 40 and len(found.new.videos) == 20 and not found.holds


def test_agreement_is_told_by_video(taught: Taught):
    found = agreement(taught.home, taught.generation(right=0.7))
    assert found
    told: Agreement = found[0]
    low = {video for video, value in told.videos.items() if value < 0.8}
    assert {taught.thing(video) for video in low} <= {0, 1, 2} and low
