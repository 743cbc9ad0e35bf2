import numpy as np

from aela.mimicry.novelty import nearest, novelty, threshold
from aela.mimicry.settings import MimicrySettings


def _unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_nearest_is_sorted():
    columns, values = nearest(np.array([[0.1, 0.9, 0.5, 0.7]]), 3)
    assert columns.tolist() == [[1, 3, 2]]
    assert values.tolist() == [[0.9, 0.7, 0.5]]


def test_known_things_are_less_novel_than_strange_ones():
    rng = np.random.default_rng(0)
    things = rng.normal(size=(5, 64))
    memory = _unit(np.repeat(things, 20, axis=0) + 0.3 * rng.normal(size=(100, 64)))
    times, videos = np.tile(np.arange(20.0), 5), np.repeat(np.arange(5), 20)
    limit = threshold(memory, times, videos, MimicrySettings(quantile=0.95))
    known = novelty(_unit(things + 0.3 * rng.normal(size=(5, 64))), memory, 4)
    strange = novelty(_unit(rng.normal(size=(50, 64))), memory, 4)
    assert (known <= limit).all()
    assert (strange > limit).mean() > 0.95


def test_with_too_little_memory_nothing_is_new():
    memory = _unit(np.eye(3, 8))
    assert threshold(memory, np.arange(3.0), np.zeros(3), MimicrySettings()) == 2.0
