"""The associator: an MLP from what was seen (image embedding) to what was said (word embedding)."""

import itertools

import torch
from torch import nn

from aela.learning import checkpoints
from aela.storage import Home

STANDARD_DEVIATION_FLOOR = 1e-3


class Associator(nn.Module):
    """Image embedding [n, image] to word embedding [n, word], both in their encoders' own units.

    Inside, both sides are centred and scaled by the moments it learned from: codes with a common
    mean would make every prediction look right.
    """

    image_mean: torch.Tensor
    image_scale: torch.Tensor
    word_mean: torch.Tensor
    word_scale: torch.Tensor

    def __init__(self, image: int, word: int, layers: int, width: int, dropout: float) -> None:
        super().__init__()
        sizes = [image, *[width] * (layers - 1)]
        hidden = [
            module
            for before, after in itertools.pairwise(sizes)
            for module in (
                nn.Linear(before, after),
                nn.LayerNorm(after),
                nn.GELU(),
                nn.Dropout(dropout),
            )
        ]
        self.mlp = nn.Sequential(*hidden, nn.Linear(width, word))
        self.register_buffer("image_mean", torch.zeros(image))
        self.register_buffer("image_scale", torch.ones(image))
        self.register_buffer("word_mean", torch.zeros(word))
        self.register_buffer("word_scale", torch.ones(word))

    def fit_scales(self, images: torch.Tensor, words: torch.Tensor) -> None:
        """Take mean and standard deviation from image [n, image] and word [m, word] embeddings."""
        for name, values in (("image", images), ("word", words)):
            scale = values.std(dim=0, unbiased=False)
            floor = STANDARD_DEVIATION_FLOOR * float(scale.max()) + 1e-8
            getattr(self, f"{name}_mean").copy_(values.mean(dim=0))
            getattr(self, f"{name}_scale").copy_(scale.clamp(min=floor))

    def standard_images(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.image_mean) / self.image_scale

    def standard_words(self, words: torch.Tensor) -> torch.Tensor:
        """Word embeddings [n, word] in the centred, scaled space that predictions live in."""
        return (words - self.word_mean) / self.word_scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.standard_images(images)) * self.word_scale + self.word_mean


def load_associator(home: Home, sha: str, device: str = "cpu") -> Associator:
    """
    Raises:
        UnknownCheckpoint: there is none of that hash.
    """
    settings = checkpoints.read(home, "associator", sha).card.settings
    tensors = checkpoints.weights(home, "associator", sha)
    model = Associator(
        tensors["image_mean"].numel(),
        tensors["word_mean"].numel(),
        settings["layers"],
        settings["width"],
        settings["dropout"],
    )
    model.load_state_dict(tensors)
    return model.eval().to(device)
