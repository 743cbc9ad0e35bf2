"""A bounded memory keeps the newest video and an even sample of the others."""

from dataclasses import dataclass

import numpy as np
import pytest

from aela.memory import manifest as manifests
from aela.memory.bounded import MOST_CLIPS, MOST_FRAMES, kept
from tests.conftest import Life


@dataclass(frozen=True)
class Video:
    content: str
    frames: int = 10
    clips: int = 2


def test_what_is_kept_is_the_newest_and_an_even_sample_of_the_rest() -> None:
    videos = [Video(str(number)) for number in range(1000)]  # oldest first
    chosen = kept(videos[::-1], frames=1000, clips=float("inf"))
    assert len(chosen) == 100 and chosen[0] is videos[-1]
    ages = np.array([int(video.content) for video in chosen])
    assert np.histogram(ages, 4, (0, 1000))[0].min() > 10


def test_what_has_left_does_not_come_back() -> None:
    videos = [Video(str(number)) for number in range(200)]
    left: set[Video] = set()
    for count in range(1, 201):
        chosen = set(kept(videos[:count][::-1], frames=100, clips=float("inf")))
        assert sum(video.frames for video in chosen) <= 100
        assert not chosen & left
        left |= set(videos[: count - 1]) - chosen


def test_clips_are_bounded_too_and_the_newest_is_kept_however_large() -> None:
    videos = [Video("large", frames=500, clips=90), *(Video(str(number)) for number in range(9))]
    assert kept(videos, frames=20, clips=4) == [videos[0]]
    assert len(kept(videos[1:], frames=1000, clips=6)) == 3


def test_only_what_is_kept_is_learned_from(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {entry.video for entry in manifests.of_now(life.home).entries} == {life.cup, life.pen}
    monkeypatch.setenv(MOST_FRAMES, "3")
    assert [entry.video for entry in manifests.of_now(life.home).entries] == [life.pen]
    monkeypatch.setenv(MOST_FRAMES, "6")
    monkeypatch.setenv(MOST_CLIPS, "4")
    assert len(manifests.of_now(life.home).entries) == 2


@pytest.mark.parametrize("wrong", ["many", "0", "-1", "nan"])
def test_a_bound_that_is_none_is_refused(
    life: Life, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv(MOST_FRAMES, wrong)
    with pytest.raises(ValueError, match=f"{MOST_FRAMES} must be a number above 0"):
        manifests.of_now(life.home)
