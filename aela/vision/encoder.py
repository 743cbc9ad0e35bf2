"""The trained image encoder: frames in, embeddings out."""

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional as F

from aela.learning import checkpoints
from aela.storage import Home
from aela.vision.network import Network
from aela.vision.pictures import MIDDLE, decode, middle_square, squeezed, to_tensor
from aela.vision.settings import ImageEncoderSettings, settings_from

FRAMES_AT_ONCE = 64


class ImageEncoder(torch.nn.Module):
    """Looks at frames and embeds what it sees."""

    def __init__(self, settings: ImageEncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.network = Network(settings)
        self.register_buffer("mean", torch.zeros(settings.embedding))
        self.register_buffer("whitening", torch.eye(settings.embedding))
        self.mean: torch.Tensor
        self.whitening: torch.Tensor

    def look(self, frames: pa.Table) -> np.ndarray:
        """What the network sees of each frame: uint8 [n, input_px, input_px, 3].

        Args:
            frames: with the columns `jpeg`, `before` and `after` of remembered frames.
        """
        side = self.settings.input_px
        cut = (
            squeezed(picture, side)
            if self.settings.look == "whole"
            else middle_square(picture, MIDDLE, side)
            for picture in (decode(jpeg) for jpeg in frames["jpeg"].to_pylist())
        )
        return np.stack(list(cut)) if len(frames) else np.zeros((0, side, side, 3), np.uint8)

    @torch.inference_mode()
    def embed(self, frames: pa.Table) -> np.ndarray:
        """Unit vectors, float32 [n, embedding].

        Args:
            frames: with the columns `jpeg`, `before` and `after` of remembered frames.
        """
        self.eval()
        rows = [np.zeros((0, self.settings.embedding), np.float32)]
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            pictures = to_tensor(self.look(frames.slice(start, FRAMES_AT_ONCE)))
            rows.append(self.whitened(self.raw(pictures.to(self.mean.device))).cpu().numpy())
        return np.concatenate(rows)

    def raw(self, pictures: torch.Tensor) -> torch.Tensor:
        """Embeddings before whitening, averaged over each picture and its mirror image."""
        return (self.network(pictures) + self.network(pictures.flip(3))) / 2

    def whitened(self, embeddings: torch.Tensor) -> torch.Tensor:
        return F.normalize((embeddings - self.mean) @ self.whitening, dim=1)


def untrained_image_encoder(settings: ImageEncoderSettings, seed: int) -> ImageEncoder:
    """An encoder with random weights: the baseline that training has to beat."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageEncoder(settings).eval()


def load_image_encoder(home: Home, sha: str, device: str = "cpu") -> ImageEncoder:
    """
    Raises:
        aela.learning.checkpoints.UnknownCheckpoint: there is none of that name.
    """
    card = checkpoints.read(home, "image_encoder", sha).card
    encoder = ImageEncoder(settings_from(card.settings))
    encoder.load_state_dict(checkpoints.weights(home, "image_encoder", sha))
    return encoder.to(device).eval()
