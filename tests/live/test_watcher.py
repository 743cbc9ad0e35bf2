"""What the system says to what it is shown: once, and in its newest generation's words."""

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from aela.capture import CaptureSettings
from aela.live.follower import Follower
from aela.live.mind import Mind
from aela.live.watcher import Watcher, Word
from aela.memory import forget
from aela.mimicry import generation as generations
from aela.mimicry.settings import DEFAULT
from aela.storage import Home
from tests.live.pages import PATIENCE_S
from tests.live.speaking import jpeg, made, teach

Speaking = tuple[Home, dict[str, str]]
STEP_S = 0.5


class Eyewitness:
    """A watcher that is shown one picture after the other, and what it tells and says."""

    def __init__(self) -> None:
        self.looks: queue.Queue[dict[str, Any]] = queue.Queue()
        self.said: list[tuple[Word, float]] = []
        self.watcher = Watcher(
            CaptureSettings(),
            self.looks.put,
            lambda word: None,
            lambda word, at_s: self.said.append((word, at_s)),
        )
        self.time_s = 0.0

    def show(self, thing: str | None, seconds: float) -> list[dict[str, Any]]:
        """Show a thing, a picture each STEP_S; each is looked at."""
        looks = []
        for _ in range(round(seconds / STEP_S)):
            self.time_s += STEP_S
            self.watcher.show(self.time_s, jpeg(thing))
            looks.append(self.looks.get(timeout=PATIENCE_S))
        return looks

    def words(self) -> list[str]:
        """The videos whose words were said."""
        mind = self.watcher.mind
        assert mind is not None
        return [mind.heard(word.number - mind.first_word)[0] for word, _ in self.said]


@pytest.fixture
def witness() -> Iterator[Eyewitness]:
    witness = Eyewitness()
    witness.watcher.start()
    yield witness
    witness.watcher.stop()


def follow(
    home: Home, witness: Eyewitness
) -> tuple[Follower, "queue.Queue[Mind | None]", list[str]]:
    """Has what speaks in a home look, and whatever speaks later."""
    minds: queue.Queue[Mind | None] = queue.Queue()
    told: list[str] = []

    def take_over(mind: Mind | None) -> None:
        witness.watcher.take_over(mind)
        minds.put(mind)

    return Follower(home, DEFAULT, "cpu", take_over, told.append), minds, told


@pytest.fixture
def watching(
    speaking: Speaking, witness: Eyewitness
) -> Iterator[tuple[Eyewitness, dict[str, str]]]:
    home, keys = speaking
    follower, minds, _ = follow(home, witness)
    follower.start()
    minds.get(timeout=4 * PATIENCE_S)
    yield witness, keys
    follower.stop()


def test_what_is_known_is_said_once_while_it_is_shown(
    watching: tuple[Eyewitness, dict[str, str]],
):
    witness, keys = watching
    looks = witness.show("disc", 3.0)
    assert witness.words() == [keys["disc"]]
    [(word, at_s)] = witness.said
    assert word.wav[:4] == b"RIFF" and 0.1 < word.seconds < 5
    assert at_s == 2 * STEP_S  # the second look agreed with the first
    assert all(look["seen"]["says"] and look["word"] is not None for look in looks)
    first = looks[0]
    assert first["clip"]["video"] == keys["disc"]
    assert {moment["video"] for moment in first["moments"]} == {keys["disc"]}
    assert all(moment["picture"].startswith("/moments/frame/") for moment in first["moments"])
    assert all(moment["when"].startswith("2026-01-01") for moment in first["moments"])
    assert sum("moments" in look for look in looks) <= 4  # now and then is enough


def test_another_thing_gets_another_word_and_the_same_one_again_later(
    watching: tuple[Eyewitness, dict[str, str]],
):
    witness, keys = watching
    for thing in ("disc", "box"):
        witness.show(thing, 4.0)
    witness.show(None, 4.0)
    witness.show("box", 3.0)
    assert witness.words() == [keys["disc"], keys["box"], keys["box"]]


def test_it_is_silent_before_bare_ground_and_with_its_voice_off(
    watching: tuple[Eyewitness, dict[str, str]],
):
    witness, _ = watching
    looks = witness.show(None, 1.0)
    assert not any(look["seen"]["says"] for look in looks) and not witness.said
    witness.watcher.speaks = False
    assert witness.show("disc", 3 * STEP_S)[-1]["seen"]["says"] and not witness.said
    witness.watcher.speaks = True
    witness.show("disc", 2 * STEP_S)
    assert len(witness.said) == 1


def test_a_picture_that_is_no_picture_is_passed_over(
    watching: tuple[Eyewitness, dict[str, str]],
):
    witness, _ = watching
    witness.watcher.show(0.05, jpeg("disc")[:700])
    assert witness.show("disc", 2 * STEP_S)[-1]["seen"]["says"]


def test_a_look_that_fails_is_told_once_and_the_next_one_goes_on(
    watching: tuple[Eyewitness, dict[str, str]], monkeypatch: pytest.MonkeyPatch
):
    witness, _ = watching
    witness.show("disc", STEP_S)
    told: queue.Queue[dict[str, Any]] = queue.Queue()
    monkeypatch.setattr(witness.watcher, "told", told.put)
    mind = witness.watcher.newest_mind
    assert mind
    with monkeypatch.context() as broken:
        broken.setattr(mind, "look", lambda *args: 1 / 0)
        for number in range(4):
            witness.watcher.show(20 + number / 5, jpeg("disc"))
            time.sleep(0.3)
        first = told.get(timeout=PATIENCE_S)
    assert first["type"] == "notice" and "could not be looked at" in first["sentence"]
    assert all(later["type"] == "look" for later in told.queue)
    monkeypatch.undo()
    assert witness.show("disc", 2 * STEP_S)[-1]["seen"]["says"]


def test_pictures_that_come_too_fast_are_left_out_and_counted(witness: Eyewitness):
    witness.show("disc", STEP_S)
    pictures = [jpeg("disc", number % 9) for number in range(200)]
    for number, picture in enumerate(pictures):
        witness.watcher.show(1 + number / 100, picture)
    looked_at = [witness.looks.get(timeout=PATIENCE_S)]
    while looked_at[-1]["at_s"] < 2.99:
        looked_at.append(witness.looks.get(timeout=PATIENCE_S))
    assert 0 < witness.watcher.left_out == len(pictures) - len(looked_at)


def test_a_new_generation_takes_over_between_two_pictures(home: Home, witness: Eyewitness):
    keys = teach(home)
    follower, minds, told = follow(home, witness)
    follower.start()
    before = minds.get(timeout=4 * PATIENCE_S)
    assert witness.show("disc", STEP_S)[-1]["seen"]["threshold"] == 0.5
    generations.publish(home, made(home, threshold=0.4))
    while minds.empty():
        assert witness.show("disc", STEP_S)[0]["seen"] is not None  # it never stops looking
    after = minds.get()
    assert (
        before and after and after.first_word > before.last_word
    )  # a word's number is never used again
    assert witness.show("disc", STEP_S)[-1]["seen"]["threshold"] == 0.4
    forget.forget(home, keys["box"])
    without = minds.get(timeout=4 * PATIENCE_S)
    assert without and keys["box"] not in set(without.mimic.remembering.clip_videos)
    assert not told
    forget.forget(home, keys["disc"])
    assert minds.get(timeout=4 * PATIENCE_S) is None  # nothing is left that it could say
    assert witness.show("disc", STEP_S)[-1]["seen"] is None
    follower.stop()
    assert len(told) == 1 and "forgotten" in told[0]


def test_a_generation_that_cannot_be_loaded_is_told_and_the_last_one_goes_on(
    home: Home, witness: Eyewitness, monkeypatch: pytest.MonkeyPatch
):
    teach(home)
    follower, minds, _ = follow(home, witness)
    trouble = threading.Event()
    follower.tell = lambda sentence: trouble.set()
    follower.start()
    minds.get(timeout=4 * PATIENCE_S)
    broken = made(home, threshold=0.3)
    monkeypatch.setattr("aela.live.follower.Mimic.load", lambda *args: 1 / 0)
    generations.publish(home, broken)
    assert trouble.wait(PATIENCE_S)
    assert witness.show("disc", STEP_S)[-1]["seen"]["threshold"] == 0.5
    follower.stop()
