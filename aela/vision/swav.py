"""SwAV: two views of a picture predict each other's assignment to prototypes.

Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
section 3 and appendix; here without multi-crop.
"""

import torch
from torch import nn
from torch.nn import functional as F


@torch.no_grad()
def sinkhorn(
    scores: torch.Tensor, epsilon: float, iterations: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Assignments that use all prototypes equally, by Sinkhorn-Knopp in the log domain.

    In the log domain because exp(score / epsilon) overflows float32 for the small epsilons that
    sharp assignments need.

    Args:
        scores: [n, k] similarities of n pictures and k prototypes.

    Returns:
        assignments [n, k], rows sum to 1; and the largest relative deviation of a prototype's
        share from 1/k, 0 when converged.
    """
    n, k = scores.shape
    log_q = scores.float() / epsilon
    for _ in range(iterations):
        log_q = log_q - torch.logsumexp(log_q, dim=0, keepdim=True)
        log_q = log_q - torch.logsumexp(log_q, dim=1, keepdim=True)
    assignments = log_q.exp()
    deviation = (assignments.sum(dim=0) * k / n - 1).abs().max()
    return assignments, deviation


class Prototypes(nn.Module):
    """k unit vectors that the embeddings are compared with."""

    def __init__(self, embedding: int, number: int) -> None:
        super().__init__()
        self.vectors = nn.Parameter(F.normalize(torch.randn(number, embedding), dim=1))

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """[n, embedding] to cosine similarities [n, k]."""
        return embeddings @ F.normalize(self.vectors, dim=1).T


class Queue:
    """The embeddings of the last batches, given out only once it is full."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows: torch.Tensor | None = None

    def get(self) -> torch.Tensor | None:
        full = self.rows is not None and len(self.rows) == self.size > 0
        return self.rows if full else None

    def push(self, embeddings: torch.Tensor) -> None:
        rows = embeddings.detach()
        if self.rows is not None:
            rows = torch.cat([rows, self.rows])
        self.rows = rows[: self.size]

    def state_dict(self) -> dict[str, torch.Tensor | None]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, torch.Tensor | None]) -> None:
        self.rows = state["rows"]


def swav_loss(
    views: tuple[torch.Tensor, torch.Tensor],
    prototypes: Prototypes,
    queues: tuple[Queue, Queue],
    *,
    temperature: float,
    epsilon: float,
    iterations: int,
) -> tuple[torch.Tensor, dict[str, float]]:
    """The swapped prediction loss (equation 2) of two batches of embeddings [n, embedding].

    Returns:
        the loss, ln k when nothing is learned; and `entropy` (mean entropy of an assignment, in
        nats) and `deviation` (of Sinkhorn, see there).
    """
    scores = [prototypes(view) for view in views]
    targets, entropies, deviations = [], [], []
    for view, score, queue in zip(views, scores, queues, strict=True):
        older = queue.get()
        if older is not None:
            score = torch.cat([score, prototypes(older)])
        assignments, deviation = sinkhorn(score.detach(), epsilon, iterations)
        assignments = assignments[: len(view)]
        queue.push(view)
        targets.append(assignments)
        deviations.append(float(deviation))
        entropies.append(float(-torch.xlogy(assignments, assignments).sum(dim=1).mean()))
    loss = scores[0].new_zeros(())
    for target, score in ((targets[0], scores[1]), (targets[1], scores[0])):
        loss = loss - (target * F.log_softmax(score / temperature, dim=1)).sum(dim=1).mean() / 2
    return loss, {"entropy": sum(entropies) / 2, "deviation": max(deviations)}
