"""The three things an answer can be: said, said though unsure, or silence."""

from typing import Literal

Certainty = Literal["said", "unsure", "silent"]

UNSURE_FROM = 0.8  # of the threshold: what is nearly too new to be named
SURE = 0.5  # likeness of a predicted word to the nearest remembered one


def certainty(confidence: float, novelty: float, threshold: float) -> Certainty:
    """How sure an answer is.

    It is "silent" where what is seen is too new, with a `novelty` above the threshold. It is
    "unsure" where it speaks, but what is seen is nearly too new, above UNSURE_FROM of the
    threshold, or the word that comes to mind is like none remembered, by a `confidence` below SURE.

    Args:
        confidence, novelty: of a prediction, 0 to 1; threshold: of its generation.
    """
    if novelty > threshold:
        return "silent"
    return "unsure" if novelty > UNSURE_FROM * threshold or confidence < SURE else "said"
