"""Settings of pairing and of the associator."""

from dataclasses import dataclass

from aela.learning.loop import Budget


@dataclass(frozen=True)
class AssociatorSettings:
    """How image embeddings are joined to word embeddings.

    Attributes:
        window_s: a frame and a clip are a moment when they are at most this far apart, in seconds.
        layers: linear layers of the MLP.
        width: values in each hidden layer.
        dropout: share of hidden values dropped while training, 0 to 1.
        weight_decay: of AdamW.
        learning_rate: peak of the one-cycle schedule.
        batch: moments per step.
        image_noise: standard deviation of the noise on image embeddings, in units of their own.
        word_noise: the same on word embeddings.
        contrast: weight of the contrastive term beside the squared error, 0 for the article's
            loss.
        contrast_temperature: of the softmax over remembered clips.
        neutral_s: clips of the same video closer than this to the moment's own are no negatives,
            since somebody naming a thing repeats its word.
        candidates: remembered clips contrasted in one step, at most.
        consensus: moments that look alike and are asked whether they agree with a moment's word, 0
            to trust all moments equally.
        moments_most: new moments learned at most, drawn evenly.
        replayed: old moments learned again by a training that goes on from a parent.
        budget: steps or minutes of training, for so many new clips.
    """

    window_s: float = 2.0
    layers: int = 5
    width: int = 256
    dropout: float = 0.2
    weight_decay: float = 1e-2
    learning_rate: float = 2e-3
    batch: int = 128
    image_noise: float = 0.3
    word_noise: float = 0.1
    contrast: float = 1.0
    contrast_temperature: float = 0.1
    neutral_s: float = 30.0
    candidates: int = 1024
    consensus: int = 10
    moments_most: int = 20_000
    replayed: int = 4000
    budget: Budget = Budget(steps=1500, minutes=2.0, rows=60)

    def __post_init__(self) -> None:
        if self.layers < 2 or self.width < 1 or self.batch < 2 or self.candidates < 2:
            raise ValueError("An associator needs at least 2 layers, 1 value, and batches of 2.")
        if self.window_s <= 0 or self.contrast_temperature <= 0 or self.learning_rate <= 0:
            raise ValueError("window_s, contrast_temperature and learning_rate must be positive.")
        if not 0 <= self.dropout < 1 or min(self.image_noise, self.word_noise) < 0:
            raise ValueError("dropout must be in [0, 1) and noise must not be negative.")
        if min(self.contrast, self.weight_decay, self.neutral_s) < 0:
            raise ValueError("contrast, weight_decay and neutral_s must not be negative.")
        if min(self.consensus, self.replayed) < 0 or self.moments_most < 1:
            raise ValueError("consensus and replayed must be 0 or more, moments_most 1 or more.")


ARTICLE = AssociatorSettings(contrast=0.0, consensus=0)
DEFAULT = AssociatorSettings()
QUICK = AssociatorSettings(budget=Budget(steps=600, minutes=0.5, rows=30))
