import time

import numpy as np
import pytest
from scipy.signal import lfilter

from aela.evaluation import listeners

RATE = 44_100


def saying(formants, seconds, pitch, rng):
    """A buzz through one resonance that glides through `formants` (Hz), with breath noise."""
    n = int(seconds * RATE)
    time_s = np.arange(n) / RATE
    centre = np.interp(np.linspace(0, len(formants) - 1, n), range(len(formants)), formants)
    harmonics = np.arange(1, 40)[:, None] * pitch
    weights = np.exp(-(((harmonics - centre) / 250) ** 2))
    voice = (weights * np.sin(2 * np.pi * harmonics * time_s)).sum(axis=0)
    envelope = np.minimum(1, np.minimum(time_s, seconds - time_s) / 0.05)
    return (0.1 * envelope * voice + 0.001 * rng.standard_normal(n)).astype(np.float32)


WORDS = [(500, 1800, 700), (1900, 600), (700, 700, 2400), (2300, 1200, 2300)]


@pytest.mark.parametrize("listener", listeners.LISTENERS.values())
def test_words_are_recognised_at_another_tempo_pitch_level_and_through_another_microphone(listener):
    rng = np.random.default_rng(0)
    references = [saying(word, s, 120, rng) for s in (0.5, 0.6) for word in WORDS]
    sounds = [saying(word, s, 150, rng) for s in (0.45, 0.7) for word in WORDS]
    # A microphone that dulls, silence around the word, and a fifth of the level.
    sounds = [0.2 * np.pad(lfilter([0.6], [1, -0.4], s), (9_000, 20_000)) for s in sounds]
    assert listener(sounds, references, list("abcd") * 2) == list("abcd") * 2


def test_the_classifier_knows_a_word_from_a_longer_throat():
    rng = np.random.default_rng(0)
    references = [saying(word, s, 120, rng) for s in (0.5, 0.6) for word in WORDS]
    long_throat = [[0.8 * formant for formant in word] for word in WORDS]
    sounds = [saying(word, 0.5, 100, rng) for word in long_throat]
    assert listeners.classifier(sounds, references, list("abcd") * 2) == list("abcd")


def test_one_word_is_all_that_can_be_said():
    references = [saying(WORDS[0], 0.5, 120, np.random.default_rng(0))]
    assert listeners.classifier(references * 2, references, ["a"]) == ["a", "a"]


def test_the_same_sound_is_at_no_distance():
    rng = np.random.default_rng(1)
    references = [saying(word, 0.5, 120, rng) for word in WORDS]
    indices, distances = listeners.nearest(references, references)
    assert indices.tolist() == [0, 1, 2, 3]
    assert distances == pytest.approx(0, abs=1e-5)


def test_warping_finds_the_cheapest_path():
    # By hand, cost 0 where equal, 1 where not: aab | abb costs 0 over a-a, a-a, b-b, b-b.
    a, b = np.eye(2, dtype=np.float32)
    query = np.stack([a, a, b])
    padded = np.stack([np.stack([a, b, b]), np.stack([b, a, 0 * a]), np.stack([b, b, b])])
    totals = listeners.warped_distances(query, padded, np.array([3, 2, 3]))
    # "ba" read as 2 frames: a-b 1, a-a 0, b-a 1. "bbb": a-b, a-b, b-b.
    assert totals == pytest.approx([0, 2 / 5, 2 / 6])


@pytest.mark.parametrize("listener", listeners.LISTENERS.values())
def test_very_short_and_silent_sounds_are_named_all_the_same(listener):
    references = [saying(word, 0.5, 120, np.random.default_rng(2)) for word in WORDS]
    sounds = [np.zeros(10, np.float32), np.zeros(RATE, np.float32), references[0][:500]]
    assert set(listener(sounds, references, list("abcd"))) <= set("abcd")


@pytest.mark.parametrize("listener", listeners.LISTENERS.values())
def test_nothing_to_compare_with_is_refused(listener):
    with pytest.raises(ValueError, match="no reference sounds"):
        listener([np.zeros(RATE, np.float32)], [], [])


@pytest.mark.parametrize("listener", listeners.LISTENERS.values())
def test_hundreds_of_sounds_take_seconds(listener):
    rng = np.random.default_rng(3)
    references = [saying(word, 0.6, 120, rng) for word in WORDS] * 32
    words = list("abcd") * 32
    listener(references[:1], references[:4], words[:4])
    start = time.process_time()
    listener(references[:10], references, words)
    assert time.process_time() - start < 4  # so that 300 sounds take well under a minute
