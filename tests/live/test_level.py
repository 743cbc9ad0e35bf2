"""The level that a person sees while speaking: the background, and when a word is under way."""

import numpy as np
import pytest

from aela.live.level import STEP_S, LevelMeter
from tests.capture.media import RATE_HZ, room, voice


@pytest.mark.parametrize("piece", [441, 960, 8_820])
def test_a_word_stands_out_of_the_background(piece: int):
    samples, meter = room(6.0, {3.0: voice(0.8)}), LevelMeter()
    levels = []
    for start in range(0, len(samples), piece):
        levels += meter.push(100 + start / RATE_HZ, samples[start : start + piece], RATE_HZ)
    assert len(levels) == 60 and np.diff([one.at_s for one in levels]) == pytest.approx(STEP_S)
    words = [one.at_s for one in levels if one.word]
    assert 103.0 < words[0] < 103.4 and 103.5 < words[-1] < 104.1
    assert len(words) == pytest.approx(8, abs=2)
    assert meter.last_word_s == pytest.approx(words[-1])
    quiet = [one for one in levels if one.at_s < 103]
    assert all(abs(one.level_db - one.floor_db) < 3 for one in quiet[3:])


def test_silence_is_no_word_and_no_error():
    levels = LevelMeter().push(0.0, np.zeros(RATE_HZ, np.float32), RATE_HZ)
    assert len(levels) == 10 and not any(one.word for one in levels)
    assert all(one.level_db == -90.0 for one in levels)
