"""Consensus: a moment counts the less, the less its word agrees with what is said of its like.

People also talk about what is not in view. In the spirit of Deep k-NN (Bahri, Jiang, Gupta 2020),
which leaves out examples whose label differs from their nearest neighbours', but with word
embeddings in place of labels, weights in place of leaving out, and neighbours that count the less,
the less they agree with theirs.
"""

import torch
from torch.nn import functional as F

ROUNDS = 3  # of judging the neighbours, too
# Cosine from which on two frames may show the same thing. The nearest frame of another clip of the
# same thing had 0.5 to 1, that of another thing 0.1 to 0.4.
ALIKE = 0.4
# Cosine with the neighbours' words at which a word is half believed, and how gradually belief sets
# in. With up to half of all words wrong, true ones had 0.7 to 0.9 on average, wrong ones -0.05.
HALF_BELIEVED = 0.4
GRADUALNESS = 0.05
LEAST_TRUST = 1e-3  # so that where codes agree with none, all count alike
ROWS_AT_ONCE = 1024


def consensus(
    images: torch.Tensor, words: torch.Tensor, pairs: torch.Tensor, neighbours: int
) -> torch.Tensor:
    """How far to trust each moment.

    A thing that was named only once, with nothing like it in memory, is trusted fully.

    Args:
        images: standardised embeddings [frames, image], words: the same [clips, word].
        pairs: int64 [p, 2], rows of both.
        neighbours: how many moments with another clip are asked at most, those that look most
            alike.

    Returns:
        float32 [p], above 0, at most 1.
    """
    frame, clip = pairs.T
    seen = F.normalize(images, dim=1)[frame]
    said = F.normalize(words, dim=1)[clip]
    nearest, likeness, agree = [], [], []
    for rows in torch.arange(len(pairs), device=pairs.device).split(ROWS_AT_ONCE):
        alike = seen[rows] @ seen.T
        alike[clip[rows, None] == clip[None]] = -torch.inf
        top = alike.topk(min(neighbours, len(pairs)), dim=1)
        nearest.append(top.indices)
        likeness.append(top.values)
        agree.append((said[top.indices] @ said[rows, :, None]).squeeze(2))
    asked, agreement = torch.cat(nearest), torch.cat(agree)
    witness = torch.cat(likeness) >= ALIKE
    trust = torch.ones(len(pairs), device=pairs.device)
    for _ in range(ROUNDS):
        votes = trust[asked] * witness
        heard = (agreement * votes).sum(dim=1) / votes.sum(dim=1)
        belief = torch.sigmoid((heard - HALF_BELIEVED) / GRADUALNESS)
        trust = (LEAST_TRUST + (1 - LEAST_TRUST) * belief).where(witness.any(dim=1), 1.0)
    return trust
