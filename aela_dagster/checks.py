"""Asset checks on the models: they read the card of the current checkpoint."""

import math

import dagster as dg

from aela.learning import checkpoints
from aela.learning.checkpoints import Card
from resources.memory import Memory

MAIN_LOSS = {
    "image_encoder": "loss",
    "mel_autoencoder": "mel",
    "word_autoencoder": "reconstruction",
    "associator": "loss",
}
LEAST_EFFECTIVE_RANK = 2.0  # of image embeddings; a collapsed encoder has 1
LEAST_PROTOTYPES_USED = 0.1  # share that is the nearest of some frame
RESUMED_SLACK = 1.2  # a resumed training starts low and may end a little higher on new memory


def _check_losses(model: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=model,
        name="loss_falls",
        blocking=True,
        description="The loss is finite and ended lower than it began.",
    )
    def loss_falls(memory: Memory) -> dg.AssetCheckResult:
        card = _card(memory, model)
        if card is None:
            return _untrained()
        loss = MAIN_LOSS[model]
        first, last = card.metrics[f"first_{loss}"], card.metrics[f"last_{loss}"]
        slack = RESUMED_SLACK if card.parent else 1.0
        return dg.AssetCheckResult(
            passed=math.isfinite(last) and last < first * slack,
            metadata={f"first_{loss}": first, f"last_{loss}": last, "resumed": bool(card.parent)},
        )

    return loss_falls


@dg.asset_check(
    asset="image_encoder",
    blocking=True,
    description="SwAV has not collapsed: embeddings fill several directions, prototypes are used.",
)
def not_collapsed(memory: Memory) -> dg.AssetCheckResult:
    card = _card(memory, "image_encoder")
    if card is None:
        return _untrained()
    rank, used = card.metrics["effective_rank"], card.metrics["prototypes_used"]
    return dg.AssetCheckResult(
        passed=rank >= LEAST_EFFECTIVE_RANK and used >= LEAST_PROTOTYPES_USED,
        metadata={
            "effective_rank": rank,
            "prototypes_used": used,
            "last_loss": card.metrics["last_loss"],
            "loss_of_chance": card.metrics["loss_of_chance"],
        },
    )


def _card(memory: Memory, model: str) -> Card | None:
    checkpoint = checkpoints.current(memory.home, model)
    return checkpoint.card if checkpoint else None


def _untrained() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="It was not trained yet.")


CHECKS = [*(_check_losses(model) for model in MAIN_LOSS), not_collapsed]
