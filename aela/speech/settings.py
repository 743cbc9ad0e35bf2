"""How the two speech networks are built and trained: the configuration of this package."""

from dataclasses import dataclass, replace

from aela.learning.loop import Budget
from aela.ranges import check_ranges


@dataclass(frozen=True)
class MelAutoencoderSettings:
    """The mel autoencoder: stretches of spectrogram to a sequence of code vectors and back.

    Raises ValueError, in one sentence, when a value lies outside its range.
    """

    budget: Budget
    """How long to train, for so many new words."""

    code: int = 64
    """Values per code vector, one vector for every 40 ms (4 to 512)."""

    width: int = 32
    """Channels of the first convolution; the deeper ones have up to four times as many (8 to 256,
    a multiple of 8)."""

    block_s: float = 0.0
    """Seconds of sound coded on their own, as the article's one-second blocks; 0: a word is coded
    as a whole, without seams (0 to 10 s)."""

    crop_s: float = 0.64
    """Seconds of a word looked at in one training step (0.08 to 10 s)."""

    batch: int = 16
    """Words per step (1 to 1024)."""

    learning_rate: float = 2e-3
    """Highest rate of AdamW; warms up and then falls as a cosine (1e-6 to 1)."""

    weight_decay: float = 0.01
    """Of AdamW (0 to 1)."""

    clips_most: int = 2000
    """New words loaded at most, drawn evenly from memory (2 to 1,000,000)."""

    replayed: int = 96
    """Old words learned again by a training that goes on from a parent (0 to 100,000)."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "code": (4, 512),
                "width": (8, 256),
                "block_s": (0, 10),
                "crop_s": (0.08, 10),
                "batch": (1, 1024),
                "learning_rate": (1e-6, 1),
                "weight_decay": (0, 1),
                "clips_most": (2, 1_000_000),
                "replayed": (0, 100_000),
            },
        )
        if self.width % 8:
            raise ValueError(f"width must be a multiple of 8, not {self.width}.")


@dataclass(frozen=True)
class WordAutoencoderSettings:
    """The word autoencoder: a word of any length to one code and back.

    Raises ValueError, in one sentence, when a value lies outside its range.
    """

    budget: Budget
    """How long to train, for so many new words."""

    code: int = 32
    """Values of a word's code (32 to 1024)."""

    size: int = 192
    """Units of each of the four LSTM layers (8 to 2048)."""

    batch: int = 32
    """Words per step (1 to 1024)."""

    learning_rate: float = 3e-3
    """Highest rate of AdamW; warms up and then falls as a cosine (1e-6 to 1)."""

    weight_decay: float = 0.01
    """Of AdamW (0 to 1)."""

    length_weight: float = 1.0
    """Weight of the length's squared error in the loss (0 to 100)."""

    code_noise: float = 0.0
    """Standard deviation of noise on the codes while training, whose values lie between -1 and 1:
    keeps them away from zero and neighbouring codes alike in sound (0 to 2)."""

    less_colour: float = 0.0
    """Share of a word's mean code vector that is taken away before reading, and with it of what
    marks the voice and the room (0 to 1)."""

    likeness_weight: float = 0.0
    """Weight of making codes as alike as the words sound, in comparison by ear with all others of
    memory: pulls together sayings of one word; 0: a word's code is only its own (0 to 100)."""

    cycle_weight: float = 0.0
    """Weight of reading the same code again from what was written from it (0 to 100)."""

    other_voices: int = 0
    """Copies of each word as other voices might say it, read in place of it half of the time and
    more; 0: none (0 to 100)."""

    clips_most: int = 2000
    """New words loaded at most, drawn evenly from memory (2 to 1,000,000)."""

    replayed: int = 96
    """Old words learned again by a training that goes on from a parent (0 to 100,000)."""

    kept: float = 1.0
    """Weight of staying with the codes that the parent gave old words: distillation (0 to 100)."""

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "code": (32, 1024),
                "size": (8, 2048),
                "batch": (1, 1024),
                "learning_rate": (1e-6, 1),
                "weight_decay": (0, 1),
                "length_weight": (0, 100),
                "code_noise": (0, 2),
                "less_colour": (0, 1),
                "likeness_weight": (0, 100),
                "cycle_weight": (0, 100),
                "other_voices": (0, 100),
                "clips_most": (2, 1_000_000),
                "replayed": (0, 100_000),
                "kept": (0, 100),
            },
        )


ARTICLE_MEL = MelAutoencoderSettings(
    Budget(steps=4000), block_s=1.0, crop_s=1.0, learning_rate=1e-3
)
ARTICLE_WORD = WordAutoencoderSettings(Budget(steps=6000), size=256, learning_rate=1e-3)
"""The article's numbers (preset aela0); what it does not say is chosen here."""

DEFAULT_MEL = MelAutoencoderSettings(Budget(steps=400, minutes=4, rows=60))
DEFAULT_WORD = WordAutoencoderSettings(
    Budget(steps=800, minutes=6, rows=60),
    batch=48,
    length_weight=2.0,
    code_noise=0.3,
    less_colour=0.7,
    likeness_weight=15.0,
    cycle_weight=1.0,
    other_voices=16,
)
"""Preset aela1: two minutes on two free cores. Steps end it, so that runs can be repeated; the
minutes, ten together, are for slow machines."""

QUICK_MEL = replace(DEFAULT_MEL, budget=Budget(steps=200, minutes=1.5, rows=30))
QUICK_WORD = replace(DEFAULT_WORD, budget=Budget(steps=400, minutes=1.5, rows=30), other_voices=6)
"""For a first look: a minute on two free cores, three at most."""
