from dataclasses import replace

import pytest

from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation, UnknownGeneration
from aela.storage import Home

FIRST = Generation("i", "m", "w", "a", "p", "manifest", 0.5)


def test_the_published_generation_speaks(home: Home):
    assert generations.current(home) is None
    with pytest.raises(UnknownGeneration, match="aela learn"):
        generations.required(home)
    generations.publish(home, FIRST)
    found = generations.required(home)
    assert found.sha == FIRST.sha and found.created
    second = replace(FIRST, associator="b", parent=FIRST.sha)
    generations.write(home, second)
    assert generations.required(home).sha == FIRST.sha
    generations.publish(home, second)
    assert generations.required(home).parent == FIRST.sha


def test_a_generation_is_named_by_all_that_decides_what_it_says():
    changes = {"image_encoder": "x", "word_autoencoder": "x", "threshold": 0.4, "pairs": "x"}
    for field, value in changes.items():
        assert replace(FIRST, **{field: value}).sha != FIRST.sha
    assert replace(FIRST, created="now").sha == FIRST.sha
