"""The asset `generation` through Dagster: what is published, and what is refused."""

from typing import Any

import dagster as dg
import pytest

from aela.learning import checkpoints
from aela.memory.forget import forget
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation
from aela.storage import Home
from aela_dagster.definitions import defs
from tests.mimicry.taught import Taught, teach


@pytest.fixture
def taught(home: Home) -> Taught:
    return teach(home)


def join(
    taught: Taught, instance: dg.DagsterInstance, **made: Any
) -> tuple[dg.ExecuteInProcessResult, Generation]:
    """Train a generation of the wanted skill, and have Dagster publish or refuse it."""
    made_up = taught.generation(**made)
    for model in ("image_encoder", "word_autoencoder", "associator"):
        checkpoint = checkpoints.read(taught.home, model, getattr(made_up, model))
        checkpoints.set_current(taught.home, checkpoint)
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey("generation")], raise_on_error=False
    )
    # Its novelty threshold is measured, so that its hash is another than that of `made_up`.
    [new] = [g for g in generations.known(taught.home) if g.associator == made_up.associator]
    return result, new


def check(result: dg.ExecuteInProcessResult) -> tuple[bool, dict[str, Any]]:
    [found] = result.get_asset_check_evaluations()
    assert found.check_name == "agrees_with_memory"
    return found.passed, {name: value.value for name, value in found.metadata.items()}


def test_the_first_generation_is_published_with_its_agreement(
    taught: Taught, instance: dg.DagsterInstance
):
    result, first = join(taught, instance)
    assert result.success and generations.required(taught.home).sha == first.sha
    passed, told = check(result)
    assert passed and told["agreement"] > 0.9 and "agreement_before" not in told
    [event] = generations.history(taught.home, first.sha)
    assert event.figures and event.figures.agreement == told["agreement"]


def test_an_equal_one_is_published_and_has_the_other_for_parent(
    taught: Taught, instance: dg.DagsterInstance
):
    _, first = join(taught, instance)
    result, second = join(taught, instance, seed=1)
    assert result.success and generations.required(taught.home).sha == second.sha
    assert second.parent == first.sha
    passed, told = check(result)
    assert passed and abs(told["agreement"] - told["agreement_before"]) < told["tolerance"]
    assert told["worst_video"] in taught.videos
    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["agreement"].value == told["agreement"]


def test_one_that_forgot_is_refused_and_the_other_goes_on_speaking(
    taught: Taught, instance: dg.DagsterInstance
):
    _, first = join(taught, instance)
    result, second = join(taught, instance, right=0.6, seed=1)
    assert not result.success and generations.required(taught.home).sha == first.sha
    passed, told = check(result)
    assert not passed and told["agreement"] < told["agreement_before"] - told["tolerance"]
    [failure] = [event for event in result.all_events if event.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data and data.description
    for said in (second.sha[:12], f"{first.sha[:12]} goes on speaking", told["worst_video"]):
        assert said in data.description
    assert not [
        event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"
    ]
    assert not result.get_asset_materialization_events()
    [event] = generations.history(taught.home, second.sha)
    assert (event.state, event.reason) == ("refused", data.description)
    assert generations.made_of(
        taught.home, second.image_encoder, second.word_autoencoder, second.manifest
    )


def test_a_shuffled_associator_is_refused(taught: Taught, instance: dg.DagsterInstance):
    _, first = join(taught, instance)
    result, _ = join(taught, instance, right=0.0, seed=1)
    assert not result.success and generations.required(taught.home).sha == first.sha
    assert check(result)[1]["agreement"] < 0.55


def test_after_forgetting_a_worse_one_speaks_all_the_same(
    taught: Taught, instance: dg.DagsterInstance
):
    join(taught, instance)
    forget(taught.home, taught.videos[3])
    result, second = join(taught, instance, right=0.5, seed=1)
    assert result.success and generations.required(taught.home).sha == second.sha
    [event] = generations.history(taught.home, second.sha)
    assert f"{taught.videos[3]} was forgotten" in event.reason


def test_joining_the_same_again_changes_nothing(taught: Taught, instance: dg.DagsterInstance):
    _, first = join(taught, instance)
    result, again = join(taught, instance)
    assert result.success and again.sha == first.sha and again.parent is None
    assert len(generations.history(taught.home, first.sha)) == 1


def test_what_is_compared_is_what_speaks_when_it_is_published(
    taught: Taught, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    """Somebody rolls back while a new generation is measured: it is measured anew."""
    from aela.mimicry import gate

    _, first = join(taught, instance, right=0.5)
    _, second = join(taught, instance, seed=1)
    judge, judged = gate.judge, []

    def slow(home: Home, old: Generation | None, new: Generation) -> gate.Verdict:
        verdict = judge(home, old, new)
        judged.append(old)
        if len(judged) == 1:
            generations.roll_back(home)
        return verdict

    monkeypatch.setattr(gate, "judge", slow)
    result, third = join(taught, instance, right=0.7, seed=2)
    assert [old.sha for old in judged if old] == [second.sha, first.sha]
    assert result.success and third.parent == first.sha
