import math

import pytest

from aela.learning.loop import Budget, one_cycle, run


def test_a_budget_of_steps_is_spent_exactly():
    seen: list[tuple[int, float]] = []
    history = run("m", lambda i, s: seen.append((i, s)) or {"loss": 10.0 - i}, Budget(7), batch=4)
    assert [i for i, _ in seen] == list(range(7))
    assert seen[0][1] == 0 and seen[-1][1] < 1
    metrics = history.metrics()
    assert (metrics["steps"], metrics["first_loss"], metrics["last_loss"]) == (7, 10.0, 6.5)


def test_a_budget_of_minutes_ends_an_endless_training():
    history = run("m", lambda i, s: {"loss": 1.0}, Budget(10**9, minutes=0.1 / 60), batch=1)
    assert 0.1 <= history.reports[-1].elapsed_s < 2


def test_a_slow_machine_makes_the_least_steps_all_the_same():
    for steps, made in ((100, 20), (3, 3)):
        budget = Budget(steps, minutes=1e-9)
        history = run("m", lambda i, s: {"loss": 1.0}, budget, batch=1)
        assert history.metrics()["steps"] == made


def test_time_counts_only_where_it_gets_ahead_of_the_steps():
    budget = Budget(100, minutes=1)
    assert budget.spent(0, 5.0) == 0
    assert budget.spent(20, 12.0) == 0.2
    assert budget.spent(20, 33.0) == pytest.approx(0.5)
    assert budget.spent(20, 60.0) == 1


def test_a_loss_that_is_not_finite_stops_the_training():
    with pytest.raises(FloatingPointError, match="step 2"):
        run("m", lambda i, s: {"loss": math.nan if i == 2 else 1.0}, Budget(9), batch=1)


def test_an_empty_budget_is_refused():
    with pytest.raises(ValueError, match="budget"):
        Budget(0)


def test_the_learning_rate_rises_and_falls():
    rates = [one_cycle(i / 100) for i in range(101)]
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert rates[0] < 0.02 and rates[-1] < 0.01
    assert rates.index(max(rates)) == 10
