import pytest
import torch

from aela.learning import checkpoints
from aela.learning.checkpoints import Card, UnknownCheckpoint
from aela.storage import Home

WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)}


def _card(**changes) -> Card:
    return Card(
        **{"model": "associator", "settings": {"a": 1}, "seed": 0, "manifest": "m", **changes}
    )


def test_weights_and_card_come_back(home: Home):
    saved = checkpoints.save(home, _card(metrics={"loss": 0.5}), WEIGHTS)
    card = checkpoints.read(home, "associator", saved.sha).card
    assert (card.metrics, card.manifest) == ({"loss": 0.5}, "m")
    assert card.created and card.code_version
    for name, tensor in checkpoints.weights(home, "associator", saved.sha).items():
        torch.testing.assert_close(tensor, WEIGHTS[name])


def test_the_name_tells_weights_and_origin_apart(home: Home):
    one = checkpoints.save(home, _card(), WEIGHTS).sha
    assert checkpoints.save(home, _card(), WEIGHTS).sha == one
    assert checkpoints.save(home, _card(manifest="other"), WEIGHTS).sha != one
    assert checkpoints.save(home, _card(), {"w": torch.zeros(2)}).sha != one


def test_current_is_what_was_made_current(home: Home):
    assert checkpoints.current(home, "associator") is None
    with pytest.raises(UnknownCheckpoint, match="associator"):
        checkpoints.required(home, "associator")
    first = checkpoints.save(home, _card(), WEIGHTS)
    checkpoints.save(home, _card(seed=1), WEIGHTS)
    checkpoints.set_current(home, first)
    assert checkpoints.required(home, "associator").sha == first.sha


def test_an_unknown_checkpoint_is_said(home: Home):
    with pytest.raises(UnknownCheckpoint, match="nothing"):
        checkpoints.read(home, "associator", "nothing")
