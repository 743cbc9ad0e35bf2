"""The loss, on embeddings whose right assignment is known."""

import math

import pytest
import torch
from torch.nn import functional as F

from aela.vision.swav import Prototypes, Queue, sinkhorn, swav_loss

PARAMETERS = {"temperature": 0.1, "epsilon": 0.05, "iterations": 50}


def test_sinkhorn_uses_all_prototypes_equally_even_with_the_articles_small_epsilon() -> None:
    torch.manual_seed(0)
    similar = torch.rand(64, 8) * 0.1 + torch.tensor([0.9] + [0.0] * 7)  # all prefer the first
    assignments, deviation = sinkhorn(similar, epsilon=5e-3, iterations=30)
    assert torch.isfinite(assignments).all()
    assert assignments.sum(dim=1) == pytest.approx(torch.ones(64), abs=1e-4)
    assert assignments.sum(dim=0) == pytest.approx(torch.full((8,), 8.0), rel=0.05)
    assert deviation < 0.05


def test_sinkhorn_says_when_it_has_not_converged() -> None:
    torch.manual_seed(0)
    similar = torch.rand(64, 8) * 0.1 + torch.tensor([0.9] + [0.0] * 7)
    assert sinkhorn(similar, epsilon=5e-3, iterations=1)[1] > 0.2


def test_the_articles_epsilon_needs_logarithms_and_more_than_three_iterations() -> None:
    torch.manual_seed(0)
    frames, prototypes = (F.normalize(torch.randn(n, 64), dim=1) for n in (128, 100))
    similar = frames @ prototypes.T
    assert (frames @ frames.T / 5e-3).exp().isinf().any()
    assert sinkhorn(similar, epsilon=5e-3, iterations=3)[1] > 0.5
    assert sinkhorn(similar, epsilon=0.05, iterations=3)[1] < 0.1


def test_the_loss_is_small_when_the_views_agree_and_chance_when_all_is_one() -> None:
    torch.manual_seed(0)
    prototypes = Prototypes(16, 4)
    with torch.no_grad():
        prototypes.vectors.copy_(torch.eye(4, 16))
    queues = (Queue(0), Queue(0))
    sorted_views = F.normalize(torch.eye(4, 16).repeat(8, 1), dim=1)
    agreed, facts = swav_loss((sorted_views, sorted_views), prototypes, queues, **PARAMETERS)
    other = sorted_views.roll(1, dims=0)
    swapped, _ = swav_loss((sorted_views, other), prototypes, queues, **PARAMETERS)
    assert agreed < 0.1 < swapped
    assert facts["entropy"] < 0.1
    collapsed = F.normalize(torch.ones(32, 16), dim=1)
    loss, facts = swav_loss((collapsed, collapsed), prototypes, queues, **PARAMETERS)
    assert float(loss.detach()) == pytest.approx(math.log(4), rel=0.01)
    assert facts["entropy"] == pytest.approx(math.log(4), rel=0.01)


def test_the_queue_gives_the_newest_rows_and_only_once_it_is_full() -> None:
    queue = Queue(3)
    queue.push(torch.tensor([[1.0], [2.0]]))
    assert queue.get() is None
    queue.push(torch.tensor([[3.0], [4.0]]))
    rows = queue.get()
    assert rows is not None
    assert rows[:, 0].tolist() == [3.0, 4.0, 1.0]
