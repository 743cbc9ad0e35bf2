from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from aela.association.associator import Associator
from aela.mimicry.imagine import imagine


def mimic(things: int = 4, views: int = 6) -> tuple[Any, np.ndarray]:
    """One that remembers several views of a few things, and what it says to each view."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(things, 16)).repeat(views, axis=0)
    images = centres + 0.2 * rng.normal(size=centres.shape)
    images = (images / np.linalg.norm(images, axis=1, keepdims=True)).astype(np.float32)
    torch.manual_seed(0)
    associator = Associator(16, 8, layers=3, width=32, dropout=0.0).eval()
    associator.fit_scales(torch.from_numpy(images), torch.randn(20, 8))
    with torch.inference_mode():
        words = associator(torch.from_numpy(images)).numpy()
    remembering = SimpleNamespace(images=images)
    return SimpleNamespace(remembering=remembering, associator=associator, device="cpu"), words


def test_a_word_brings_to_mind_what_it_is_said_to():
    system, words = mimic()
    imagined = imagine(system, words)
    np.testing.assert_allclose(np.linalg.norm(imagined, axis=1), 1, atol=1e-5)
    nearest = (imagined @ system.remembering.images.T).argmax(axis=1)
    np.testing.assert_array_equal(nearest // 6, np.arange(24) // 6)


def test_a_new_saying_brings_to_mind_the_same_thing():
    system, words = mimic()
    rng = np.random.default_rng(1)
    said_anew = words + 0.1 * words.std() * rng.normal(size=words.shape)
    imagined = imagine(system, said_anew.astype(np.float32))
    nearest = (imagined @ system.remembering.images.T).argmax(axis=1)
    assert (nearest // 6 == np.arange(24) // 6).mean() > 0.9
