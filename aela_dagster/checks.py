"""Asset checks on the models: they read the card of the current checkpoint."""

import dagster as dg

from aela.learning import checkpoints, soundness
from aela.learning.checkpoints import Card
from aela.learning.soundness import MAIN_LOSS
from resources.memory import Memory


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
        return dg.AssetCheckResult(
            passed=soundness.loss_falls(card),
            metadata={
                f"first_{loss}": card.metrics[f"first_{loss}"],
                f"last_{loss}": card.metrics[f"last_{loss}"],
                "resumed": bool(card.parent),
            },
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
    return dg.AssetCheckResult(
        passed=soundness.not_collapsed(card),
        metadata={
            "effective_rank": card.metrics["effective_rank"],
            "prototypes_used": card.metrics["prototypes_used"],
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
