import json
from dataclasses import replace
from typing import Any

import pytest

from aela.memory.forget import forget
from aela.mimicry import generation as generations
from aela.mimicry.generation import Figures, Generation, NoWayBack, UnknownGeneration
from aela.storage import Home

Life = Any  # the home that the fixture `life` makes
FIRST = Generation("i", "m", "w", "a", "p", "manifest", 0.5)
SECOND = replace(FIRST, associator="b", parent=FIRST.sha)


def speaks(home: Home) -> str:
    return generations.required(home).sha


def test_the_published_generation_speaks(home: Home):
    assert generations.current(home) is None
    with pytest.raises(UnknownGeneration, match="aela learn"):
        generations.required(home)
    generations.publish(home, FIRST)
    found = generations.required(home)
    assert found.sha == FIRST.sha and found.created
    generations.write(home, SECOND)
    assert speaks(home) == FIRST.sha
    generations.publish(home, SECOND)
    assert generations.required(home).parent == FIRST.sha


def test_a_generation_is_named_by_all_that_decides_what_it_says():
    changes = {"image_encoder": "x", "word_autoencoder": "x", "threshold": 0.4, "pairs": "x"}
    for field, value in changes.items():
        assert replace(FIRST, **{field: value}).sha != FIRST.sha
    assert replace(FIRST, created="now").sha == FIRST.sha


def test_what_becomes_of_it_is_told_beside_the_record_which_stays(home: Home):
    generations.publish(home, FIRST)
    record = (home.generations / f"{FIRST.sha}.json").read_bytes()
    generations.publish(home, FIRST)
    generations.refuse(home, SECOND, "It forgot.", Figures(0.6, 40, 0.9))
    assert speaks(home) == FIRST.sha
    [refused] = generations.history(home, SECOND.sha)
    assert (refused.state, refused.reason) == ("refused", "It forgot.")
    assert refused.figures == Figures(0.6, 40, 0.9)
    assert [event.state for event in generations.history(home, FIRST.sha)] == ["published"]
    assert (home.generations / f"{FIRST.sha}.json").read_bytes() == record


def test_what_was_tried_with_the_same_is_found_whatever_became_of_it(life: Life):
    home, first = life.home, life.generation
    made_of = (first.image_encoder, first.word_autoencoder, first.manifest)
    found = generations.made_of(home, *made_of)
    assert found and found.sha == first.sha
    assert generations.made_of(home, "other", *made_of[1:]) is None
    again = replace(first, associator="b", parent=first.sha)
    generations.write(home, again)
    found = generations.made_of(home, *made_of)
    assert found and found.sha == first.sha, "made to be compared with, it counts for nothing"
    new = replace(again, image_encoder="new")
    generations.refuse(home, new, "It forgot.")
    found = generations.made_of(home, "new", *made_of[1:])
    assert found and found.sha == new.sha
    generations.publish(home, again)
    generations.roll_back(home)
    assert generations.state(home, again) == "withdrawn"
    found = generations.made_of(home, *made_of)
    assert found and found.sha in (first.sha, again.sha)


def test_going_back_to_the_parent_or_to_any_other(life: Life):
    home, first = life.home, life.generation
    second = replace(first, threshold=0.4, parent=first.sha)
    third = replace(first, threshold=0.3, parent=second.sha)
    for generation in (second, third):
        generations.publish(home, generation)
    assert generations.roll_back(home).sha == second.sha == speaks(home)
    assert generations.roll_back(home).sha == first.sha == speaks(home)
    with pytest.raises(NoWayBack, match="no parent"):
        generations.roll_back(home)
    with pytest.raises(NoWayBack, match="speaks already"):
        generations.roll_back(home, first)
    assert generations.roll_back(home, third).sha == speaks(home)
    states = [generations.state(home, g) for g in (first, second, third)]
    assert states == ["withdrawn", "withdrawn", "published"]
    assert [e.state for e in generations.history(home, third.sha)] == [
        "published",
        "withdrawn",
        "published",
    ]


def test_a_refused_one_can_be_made_to_speak_but_not_one_made_to_be_compared(life: Life):
    refused = replace(life.generation, threshold=0.4)
    compared = replace(life.generation, threshold=0.3)
    generations.refuse(life.home, refused, "It forgot.")
    generations.write(life.home, compared)
    with pytest.raises(NoWayBack, match="compared"):
        generations.roll_back(life.home, compared)
    assert generations.roll_back(life.home, refused).sha == speaks(life.home)


def test_there_is_no_way_back_to_what_was_forgotten(life: Life):
    key = life.remember("key", "learn")
    second = life.learn()
    assert generations.forgotten_by(life.home, second) == ""
    forget(life.home, key)
    third = life.learn()
    with pytest.raises(NoWayBack, match=f"learned from {key}, forgotten since"):
        generations.roll_back(life.home, second)
    assert speaks(life.home) == third.sha
    without = replace(second, manifest=third.manifest)
    assert "in the past of its" in generations.forgotten_by(life.home, without)


def test_homes_from_before_there_were_histories(life: Life):
    home, first = life.home, life.generation
    second = replace(first, threshold=0.4, parent=first.sha)
    generations.publish(home, second)
    for path in home.generation_histories.glob("*.json"):
        path.unlink()
    assert generations.state(home, first) == generations.state(home, second) == "published"
    assert generations.roll_back(home).sha == first.sha
    assert generations.state(home, second) == "withdrawn"


def test_a_generation_is_found_by_the_start_of_its_hash(home: Home):
    generations.publish(home, FIRST)
    assert generations.find(home, FIRST.sha[:6]).sha == FIRST.sha
    for name, says in (("zz", "is no generation 'zz'"), ("", "is no generation ''")):
        with pytest.raises(UnknownGeneration, match=says):
            generations.find(home, name)
    path = home.generations / f"{FIRST.sha[:6]}00.json"
    path.write_bytes((home.generations / f"{FIRST.sha}.json").read_bytes())
    with pytest.raises(UnknownGeneration, match="several"):
        generations.find(home, FIRST.sha[:6])


def test_a_publishing_that_was_killed_half_way_is_published(home: Home, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(generations, "write_json", _killed_at_history)
        with pytest.raises(KeyboardInterrupt):
            generations.publish(home, FIRST)
    assert speaks(home) == FIRST.sha and generations.state(home, FIRST) == "published"
    generations.publish(home, FIRST)
    assert [event.state for event in generations.history(home, FIRST.sha)] == ["published"]


def test_a_rollback_that_was_killed_half_way_can_be_made_again(life: Life, monkeypatch):
    home, second = life.home, replace(life.generation, threshold=0.4, parent=life.generation.sha)
    generations.publish(home, second)
    with monkeypatch.context() as patch:
        patch.setattr(generations, "write_bytes", _killed)
        with pytest.raises(KeyboardInterrupt):
            generations.roll_back(home)
    # Nothing asks for the one that was left: whoever was to speak, it is not to be made anew.
    assert generations.state(home, second) == "withdrawn" and speaks(home) == second.sha
    assert generations.roll_back(home).sha == life.generation.sha == speaks(home)
    assert generations.state(home, second) == "withdrawn"


def _killed(path: Any, data: bytes) -> None:
    raise KeyboardInterrupt


def _killed_at_history(path: Any, value: Any) -> None:
    if "history" in str(path):
        raise KeyboardInterrupt
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
