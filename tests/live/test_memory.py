"""What of a live source is remembered: not its own voice, not what was to be forgotten."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from aela.capture import SAMPLE_RATE_HZ, Clip, Frame, Rejection
from aela.capture.feed import Feed
from aela.capture.live import LiveSettings, Minute
from aela.live.memory import Kept, LiveMemory, sift
from tests.capture.media import room, voice
from tests.live.pages import PATIENCE_S
from tests.live.speaking import jpeg

SECONDS = 16.0
WORDS_S = (1.0, 4.0, 7.5)
STARTED_S = 1000.0  # by the clock of the page


def show(feed: Feed, *, sound: bool = True, picture: bool = True) -> None:
    """Hand over sixteen seconds at once: a thing, and three words."""
    samples = room(SECONDS, {at_s: voice(0.6) for at_s in WORDS_S})
    pcm = (samples * 32767).astype(np.int16)
    step = SAMPLE_RATE_HZ // 10
    for number in range(round(10 * SECONDS)):
        stamp_s = STARTED_S + number / 10
        if picture:
            feed.picture(stamp_s, jpeg("disc", number % 8))
        if sound:
            feed.sound(stamp_s, pcm[number * step : (number + 1) * step], SAMPLE_RATE_HZ)


def followed(
    memory: LiveMemory, feed: Feed, when: Callable[[LiveMemory], None] = lambda memory: None
) -> list[Minute]:
    """All that is remembered of the showing; `when` is called once its words are decided."""
    feed.begin()
    show(feed)
    decided, found = threading.Event(), list[Kept | Rejection]()

    def count(what: Kept | Rejection) -> None:
        found.append(what)
        if sum(isinstance(one, Kept) and one.sense == "clip" for one in found) == len(WORDS_S):
            decided.set()

    memory.decided = count
    minutes: list[Minute] = []
    thread = threading.Thread(target=lambda: minutes.extend(memory.minutes()))
    thread.start()
    assert decided.wait(PATIENCE_S)
    when(memory)
    memory.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    return minutes


def all_minutes(memory: LiveMemory, feed: Feed) -> list[Minute]:
    """What is remembered of a showing that was handed over, once all of it was read."""

    def stop() -> None:
        while not feed.opened or feed.pieces:
            time.sleep(0.02)
        memory.stop()

    threading.Thread(target=stop, daemon=True).start()
    return list(memory.minutes())


def of(minutes: list[Minute], kind: type) -> list:
    return [sensed for minute in minutes for sensed in minute.sensed if isinstance(sensed, kind)]


@pytest.fixture
def feed() -> Feed:
    return Feed("the page")


@pytest.fixture
def memory(feed: Feed) -> LiveMemory:
    return LiveMemory(feed, live=LiveSettings(minute_s=60.0))


def test_what_a_page_shows_becomes_frames_and_clips(memory: LiveMemory, feed: Feed):
    minutes = followed(memory, feed)
    words, frames = of(minutes, Clip), of(minutes, Frame)
    assert [clip.start_s for clip in words] == pytest.approx(WORDS_S, abs=0.3)
    assert len(frames) >= SECONDS - 2
    assert {(frame.width, frame.height) for frame in frames} == {(299, 224)}
    assert not of(minutes, Rejection)


def test_its_own_voice_is_not_remembered(memory: LiveMemory, feed: Feed):
    def spoke(memory: LiveMemory) -> None:
        start_s = STARTED_S + WORDS_S[1]
        memory.hear_itself(start_s, start_s + 0.6, stamped=True)

    minutes = followed(memory, feed, spoke)
    heard = [clip.start_s for clip in of(minutes, Clip)]
    assert heard == pytest.approx([WORDS_S[0], WORDS_S[2]], abs=0.3)
    [left_out] = of(minutes, Rejection)
    assert (left_out.sense, left_out.reason) == ("clip", "own voice")
    assert left_out.start_s == pytest.approx(WORDS_S[1], abs=0.3)
    assert len(of(minutes, Frame)) >= SECONDS - 2  # what it saw meanwhile is remembered


def test_its_own_voice_is_left_out_also_before_its_clock_is_known(memory: LiveMemory, feed: Feed):
    memory.hear_itself(STARTED_S + WORDS_S[0], STARTED_S + WORDS_S[0] + 0.6, stamped=True)
    told: list[Kept | Rejection] = []
    memory.decided = told.append
    feed.begin()
    show(feed)
    heard = [clip.start_s for clip in of(all_minutes(memory, feed), Clip)]
    assert heard == pytest.approx(WORDS_S[1:], abs=0.3)
    assert [one.reason for one in told if isinstance(one, Rejection)] == ["own voice"]


def test_the_last_moment_is_forgotten_and_nothing_else(memory: LiveMemory, feed: Feed):
    found = []

    def forget(memory: LiveMemory) -> None:
        memory.now_s = lambda: 30.0  # nothing is undecided any more
        found.append(memory.forget(word_just_now=False))

    minutes = followed(memory, feed, forget)
    heard = [clip.start_s for clip in of(minutes, Clip)]
    assert heard == pytest.approx(WORDS_S[:2], abs=0.3)
    [forgetting] = found
    assert forgetting.clips == 1 and forgetting.frames >= 3 and not forgetting.written
    times_s = [frame.time_s for frame in of(minutes, Frame)]
    assert not [t for t in times_s if WORDS_S[2] - 1.5 < t < WORDS_S[2] + 2]
    assert [t for t in times_s if t < WORDS_S[2] - 2.5] and [t for t in times_s if t > 11]
    assert not of(minutes, Rejection)  # nothing tells that there was something


def test_what_is_not_decided_yet_is_forgotten_too(memory: LiveMemory, feed: Feed):
    def forget(memory: LiveMemory) -> None:
        memory.now_s = lambda: WORDS_S[2] + 3
        assert memory.forget(word_just_now=True).clips == 2

    minutes = followed(memory, feed, forget)
    heard = [clip.start_s for clip in of(minutes, Clip)]
    assert heard == pytest.approx(WORDS_S[:1], abs=0.3)  # seven seconds, two words in them


def test_nothing_is_remembered_while_learning_is_off(memory: LiveMemory, feed: Feed):
    memory.learn(False)
    assert not memory.learning
    told: list[Kept | Rejection] = []
    feed.begin()
    show(feed)
    memory.decided = told.append
    assert not all_minutes(memory, feed)
    assert not [what for what in told if isinstance(what, Kept)]
    memory.learn(True)
    assert memory.learning


def test_a_microphone_that_is_refused_leaves_the_pictures(memory: LiveMemory, feed: Feed):
    feed.begin()
    show(feed, sound=False)
    minutes = all_minutes(memory, feed)
    assert len(of(minutes, Frame)) >= SECONDS - 2 and not of(minutes, Clip)


def test_kept_things_can_be_looked_at_and_are_bounded(
    memory: LiveMemory, feed: Feed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("aela.live.memory.MOST_KEPT", 5)
    followed(memory, feed)
    kept = list(memory.kept.values())
    assert len(kept) == 5 and {one.sense for one in kept} <= {"frame", "clip"}
    starts = {"frame": b"\xff\xd8", "clip": b"fLaC"}
    assert all(one.media.startswith(starts[one.sense]) for one in kept)


def test_what_is_left_out_stays_a_short_list_whoever_asks(memory: LiveMemory):
    for number in range(1000):
        memory.hear_itself(number / 100, number / 100 + 1)
        memory.forget(word_just_now=True)
        memory.learn(bool(number % 2))
    assert len(memory.spans) < 5


def test_a_second_page_is_a_connection_of_its_own(memory: LiveMemory, feed: Feed):
    feed.begin()
    show(feed)
    told: list[float] = []
    again, over = threading.Event(), threading.Event()

    def decided(what: Kept | Rejection) -> None:
        told.append(what.start_s)
        if len(told) > SECONDS - 4 and not again.is_set():
            again.set()
            feed.begin()
            show(feed)
        elif len(told) > 2 * SECONDS - 4:
            over.set()

    memory.decided = decided
    minutes: list[Minute] = []
    thread = threading.Thread(target=lambda: minutes.extend(memory.minutes()))
    thread.start()
    assert over.wait(PATIENCE_S)
    memory.stop()
    thread.join(PATIENCE_S)
    frames_s = [frame.time_s for frame in of(minutes, Frame)]
    assert frames_s == sorted(frames_s) and len(frames_s) >= 2 * SECONDS - 6


def test_a_rejection_stays_what_it_is_beside_the_own_voice():
    from aela.live.memory import Span

    knock = Rejection("clip", 1.0, 1.2, "knock", 0.2)
    assert list(sift(knock, [Span(0.0, 2.0, "own voice", "clip")])) == [knock]
    assert not list(sift(knock, [Span(0.0, 2.0, "forgotten")]))
