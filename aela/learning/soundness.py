"""Whether a training went well, judged by its card: no model builds on one that did not."""

import math

from aela.learning.checkpoints import Card

MAIN_LOSS = {
    "image_encoder": "loss",
    "mel_autoencoder": "mel",
    "word_autoencoder": "reconstruction",
    "associator": "loss",
}
LEAST_EFFECTIVE_RANK = 1.2  # of image embeddings: a collapsed encoder has 1, one of two things 1.4
LEAST_PROTOTYPES_USED = 0.1  # share that is the nearest of some frame
RESUMED_SLACK = 1.2  # a resumed training starts low and may end a little higher on new memory


def loss_falls(card: Card) -> bool:
    """Whether the main loss is finite and ended lower than it began, or not RESUMED_SLACK times
    higher where the training went on from another."""
    loss = MAIN_LOSS[card.model]
    first, last = card.metrics[f"first_{loss}"], card.metrics[f"last_{loss}"]
    slack = RESUMED_SLACK if card.parent else 1.0
    return math.isfinite(last) and last < first * slack


def not_collapsed(card: Card) -> bool:
    """Whether an image encoder's embeddings fill several directions and prototypes are used."""
    rank, used = card.metrics["effective_rank"], card.metrics["prototypes_used"]
    return rank >= LEAST_EFFECTIVE_RANK and used >= LEAST_PROTOTYPES_USED


def sound(card: Card) -> bool:
    """Whether a checkpoint passed its checks: nothing that its card tells speaks against it."""
    told = card.metrics.keys()
    if f"last_{MAIN_LOSS[card.model]}" in told and not loss_falls(card):
        return False
    return "effective_rank" not in told or not_collapsed(card)
