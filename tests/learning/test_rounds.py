"""Rounds: what is new has its share, what is old is replayed in a bounded number."""

from dataclasses import replace

import numpy as np
import pytest

from aela.learning import checkpoints, rounds
from aela.learning.loop import Budget
from aela.memory import manifest as manifests
from tests.conftest import Life


def test_what_is_new_makes_half_of_a_batch_however_little_it_is() -> None:
    new, old = np.arange(3), np.arange(3, 100)
    chances = rounds.balanced(new, old)
    assert chances[new].sum() == pytest.approx(0.5) and chances.sum() == pytest.approx(1)
    assert np.ptp(chances[old]) == 0


@pytest.mark.parametrize(("new", "old"), [(0, 9), (9, 0), (6, 3)])
def test_all_count_the_same_where_new_ones_have_their_share_anyway(new: int, old: int) -> None:
    chances = rounds.balanced(np.arange(new), np.arange(new, new + old))
    assert chances == pytest.approx(1 / 9)


def test_old_rows_are_replayed_in_a_bounded_number_spread_over_all() -> None:
    rows = rounds.replayed(10_000, 100, np.random.default_rng(0))
    assert len(set(rows)) == 100 and (np.diff(rows) > 0).all()
    assert np.histogram(rows, 4, (0, 10_000))[0].min() > 10
    assert list(rounds.replayed(5, 100, np.random.default_rng(0))) == [0, 1, 2, 3, 4]


def test_a_round_costs_what_is_new_and_not_more_than_a_training_from_nothing() -> None:
    budget = Budget(steps=1000, minutes=5, rows=200)
    assert budget.of(20) == Budget(steps=100, minutes=5)
    assert budget.of(0).steps == budget.of(1).steps == 50
    assert Budget(steps=30, rows=200).of(1).steps == 20 > Budget(steps=9, rows=200).of(1).steps == 9
    assert budget.of(200) == budget.of(9999) == budget
    assert Budget(steps=1000).of(1).steps == 1000


@pytest.mark.parametrize(("kept", "takes_over"), [(0.95, True), (0.1, False), (None, True)])
def test_only_from_a_parent_that_says_the_same_of_old_frames_is_taken_over(
    life: Life, kept: float | None, takes_over: bool
) -> None:
    parent = checkpoints.required(life.home, "image_encoder")
    metrics = {} if kept is None else {"kept": kept}
    card = replace(parent.card, parent=parent.sha, metrics=metrics)
    checkpoint = checkpoints.save(life.home, card, {})
    assert rounds.takes_over_from(checkpoint) == (parent.sha if takes_over else None)
    assert rounds.takes_over_from(parent) is None


def test_what_was_captured_anew_is_new_again(life: Life) -> None:
    parent = checkpoints.required(life.home, "image_encoder")
    known = rounds.known_to(life.home, parent)
    before = manifests.of_now(life.home)
    life.remember("key", "learn")
    now = manifests.of_now(life.home)
    assert [e.video for e in now.entries if e not in known] == [
        entry.video for entry in now.entries if entry not in before.entries
    ]
    assert replace(before.entries[0], content="anew") not in known
    assert rounds.known_to(life.home, None) == frozenset()
