"""Recall run backwards: from a word that is heard to what it brings before the mind's eye."""

import numpy as np
import torch
from torch.nn import functional as F

from aela.mimicry.recall import Mimic

TEMPERATURE = 0.05  # of the softmax over remembered frames; from 0.02 to 0.3 shows the same things


def imagine(mimic: Mimic, words: np.ndarray) -> np.ndarray:
    """Image embeddings, unit vectors float32 [n, d], for which the associator says these words.

    The mean of remembered image embeddings, each weighted by how near the word that the associator
    predicts for it comes to the word heard (kernel regression, Watson 1964). Descending from there
    to the embedding that predicts the word best draws the same picture and leaves memory behind.

    Args:
        words: word embeddings [n, w], of remembered clips or of new ones.
    """
    remembered = torch.from_numpy(mimic.remembering.images).to(mimic.device)
    heard = torch.from_numpy(np.asarray(words, np.float32)).to(mimic.device)
    with torch.inference_mode():
        predicted = F.normalize(mimic.associator.mlp(mimic.associator.standard_images(remembered)))
        wanted = F.normalize(mimic.associator.standard_words(heard))
        weights = (wanted @ predicted.T / TEMPERATURE).softmax(dim=1)
        return F.normalize(weights @ remembered).cpu().numpy()
