"""How the image encoder is built and trained: the one configuration of this package."""

from dataclasses import dataclass, field
from typing import Literal

from aela.learning.loop import Budget
from aela.ranges import check_ranges

EMBEDDING = 64  # values of an image embedding, as in the article


@dataclass(frozen=True)
class ImageEncoderSettings:
    """
    Raises ValueError, in one sentence, when a value lies outside its range.
    """

    budget: Budget = field(default_factory=lambda: Budget(steps=1500, rows=600))
    """Gradient steps of the encoder for so many new frames, or fewer when the minutes run out."""

    look: Literal["whole", "thing"] = "thing"
    """What is embedded: the whole frame, or what `aela.vision.gaze` takes for the thing."""

    network: Literal["resnet18", "small"] = "small"
    """torchvision's ResNet18, or one of the same shape with half the channels, for small inputs."""

    input_px: int = 48
    """Side of the square picture that the network sees (32 to 512)."""

    described_by: Literal["head", "last stage", "all stages", "stages and spread"] = (
        "stages and spread"
    )
    """What makes the embedding: the last stage knows the whole, the others the parts, and how much
    these differ over the thing; the head's output is the article's."""

    embedding: int = EMBEDDING
    """Values of an embedding (8 to 256)."""

    centred: bool = False
    """Batch-normalise embeddings before they are compared. It prevents a collapse and tells covered
    things apart a little less well, so training turns it on only after a collapse."""

    second_view_s: float = 10.0
    """Half of the second views are another frame of the video, at most so far away (0: none)."""

    zoom: float = 0.6
    """The smallest side of a view, as a share of what is looked at (0.2 to 1)."""

    covered: float = 0.7
    """Share of the views in which something like an arm covers part of the thing (0 to 1)."""

    prototypes: int | None = None
    """Prototypes of SwAV; None: one for every six frames, 10 to 1000."""

    temperature: float = 0.1
    """Of the softmax over prototypes (0.005 to 1)."""

    epsilon: float = 0.05
    """Weight of the entropy in Sinkhorn's equipartition (0.001 to 1)."""

    sinkhorn_iterations: int = 10
    """Row and column normalisations per batch (1 to 1000)."""

    frozen_share: float = 0.05
    """Share of the training at its start in which the prototypes do not move (0 to 1)."""

    queue: int = 0
    """Embeddings of earlier batches that join the equipartition, used once full (0: none)."""

    batch: int = 64
    """Frames per step; each is seen in two views (4 to 4096)."""

    learning_rate: float = 2e-3
    """Highest learning rate of AdamW (1e-6 to 1)."""

    weight_decay: float = 1e-3
    """Of AdamW (0 to 1)."""

    averaged: int = 100
    """Steps that the running mean of the weights covers, which is what is saved (1: the last alone;
    to 100,000)."""

    frames_most: int = 6000
    """New frames loaded at most, drawn evenly from memory (8 to 1,000,000)."""

    replayed: int = 600
    """Old frames loaded at most by a training that goes on from a parent (0 to 1,000,000)."""

    kept: float = 1.0
    """Weight of staying with what the parent says of old frames: distillation (0 to 100)."""

    aligned: bool = True
    """Turn the embeddings to lie as the parent's did, so that old ones stay of use."""

    def __post_init__(self) -> None:
        ranges = {
            "input_px": (32, 512),
            "embedding": (8, 256),
            "second_view_s": (0, 3600),
            "zoom": (0.2, 1),
            "covered": (0, 1),
            "temperature": (0.005, 1),
            "epsilon": (0.001, 1),
            "sinkhorn_iterations": (1, 1000),
            "frozen_share": (0, 1),
            "queue": (0, 100_000),
            "batch": (4, 4096),
            "learning_rate": (1e-6, 1),
            "weight_decay": (0, 1),
            "averaged": (1, 100_000),
            "frames_most": (8, 1_000_000),
            "replayed": (0, 1_000_000),
            "kept": (0, 100),
        }
        check_ranges(self, ranges)
        if self.prototypes is not None and not 2 <= self.prototypes <= 100_000:
            raise ValueError(
                f"prototypes must lie between 2 and 100000 or be None, not {self.prototypes}."
            )

    def same_network(self, other: "ImageEncoderSettings") -> bool:
        """Whether weights trained with one fit the other."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ("network", "described_by", "embedding")
        )

    def prototypes_for(self, frames: int) -> int:
        """The number of prototypes for a memory of so many frames."""
        return self.prototypes or min(1000, max(10, frames // 6))


ARTICLE = ImageEncoderSettings(
    look="whole",
    network="resnet18",
    described_by="head",
    input_px=224,
    second_view_s=0.0,
    zoom=0.4,
    covered=0.0,
    temperature=2e-2,
    epsilon=5e-3,
    sinkhorn_iterations=100,
    batch=128,
)
"""AELA0's article: two views of the whole frame, for a GPU (two CPU cores take minutes a step)."""

DEFAULT = ImageEncoderSettings()
"""About eight minutes on two CPU cores."""

QUICK = ImageEncoderSettings(budget=Budget(steps=350, rows=200))
"""About two minutes on two CPU cores, for a demonstration."""


@dataclass(frozen=True)
class ImageDecoderSettings:
    """How the image decoder, a window on what an embedding still knows, is trained.

    Raises ValueError, in one sentence, when a value lies outside its range.
    """

    budget: Budget = field(default_factory=lambda: Budget(steps=1000))
    """Gradient steps, or fewer when the minutes run out first."""

    batch: int = 32
    """Frames per step (2 to 4096)."""

    learning_rate: float = 2e-3
    """Highest learning rate of AdamW (1e-6 to 1)."""

    noise: float = 0.03
    """Standard deviation of the noise on each value of an embedding, so that also what lies between
    remembered embeddings has a picture (0 to 1)."""

    frames_most: int = 3000
    """Frames learned from at most, spread evenly over each video (8 to 1,000,000)."""

    def __post_init__(self) -> None:
        ranges = {
            "batch": (2, 4096),
            "learning_rate": (1e-6, 1),
            "noise": (0, 1),
            "frames_most": (8, 1_000_000),
        }
        check_ranges(self, ranges)


DEFAULT_DECODER = ImageDecoderSettings()
"""Less than a minute on two CPU cores."""

QUICK_DECODER = ImageDecoderSettings(budget=Budget(steps=400))
