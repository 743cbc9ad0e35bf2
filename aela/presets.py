"""Presets by name: one setting for each part.

They stand above the parts rather than in `learning`, since they join what the parts define and
`learning` knows no model.
"""

import dataclasses
from dataclasses import dataclass

from aela.association import settings as association
from aela.association.settings import AssociatorSettings
from aela.learning.checkpoints import TRAINED
from aela.learning.loop import Budget
from aela.mimicry import settings as mimicry
from aela.mimicry.settings import MimicrySettings
from aela.speech import settings as speech
from aela.speech.settings import MelAutoencoderSettings, WordAutoencoderSettings
from aela.vision import settings as vision
from aela.vision.settings import ImageDecoderSettings, ImageEncoderSettings


@dataclass(frozen=True)
class Preset:
    """How each part is built and trained."""

    image_encoder: ImageEncoderSettings
    mel_autoencoder: MelAutoencoderSettings
    word_autoencoder: WordAutoencoderSettings
    associator: AssociatorSettings
    mimicry: MimicrySettings
    image_decoder: ImageDecoderSettings


PRESETS = {
    # The article's own configuration, number by number; made for two GPUs.
    "aela0": Preset(
        vision.ARTICLE,
        speech.ARTICLE_MEL,
        speech.ARTICLE_WORD,
        association.ARTICLE,
        mimicry.DEFAULT,
        vision.DEFAULT_DECODER,
    ),
    # The default: numerically sound and small enough for two CPU cores.
    "aela1": Preset(
        vision.DEFAULT,
        speech.DEFAULT_MEL,
        speech.DEFAULT_WORD,
        association.DEFAULT,
        mimicry.DEFAULT,
        vision.DEFAULT_DECODER,
    ),
    # `aela1` with a fraction of its training, for a first look.
    "quick": Preset(
        vision.QUICK,
        speech.QUICK_MEL,
        speech.QUICK_WORD,
        association.QUICK,
        mimicry.DEFAULT,
        vision.QUICK_DECODER,
    ),
}
DEFAULT_PRESET = "aela1"


def preset(name: str, effort: float = 1.0) -> Preset:
    """The preset `name`, with its training budgets scaled by `effort` (above 0).

    Raises:
        ValueError: there is no preset of that name, or no effort.
    """
    if name not in PRESETS:
        raise ValueError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    if effort <= 0:
        raise ValueError(f"effort must be above 0, not {effort}.")
    chosen = PRESETS[name]
    scaled = {}
    for model in TRAINED:
        settings = getattr(chosen, model)
        whole = settings.budget
        steps, minutes = max(1, round(whole.steps * effort)), whole.minutes
        budget = Budget(steps, minutes and minutes * effort, whole.rows)
        scaled[model] = dataclasses.replace(settings, budget=budget)
    return dataclasses.replace(chosen, **scaled)
