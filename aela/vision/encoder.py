"""The trained image encoder: frames in, embeddings out."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional as F

from aela.learning import checkpoints
from aela.storage import Home
from aela.vision.network import Network, on_grey
from aela.vision.pictures import ground_of, looked_at
from aela.vision.settings import ImageEncoderSettings

FRAMES_AT_ONCE = 64
SHARES = (0.8, 1.0)  # of what is looked at: its middle, and all of it

Look = Callable[[pa.Table, ImageEncoderSettings], torch.Tensor]


class ImageEncoder(torch.nn.Module):
    """Looks at frames and embeds what it sees.

    An embedding is made of the network's features, averaged over a few views, and reduced to
    their main directions in memory, each scaled to equal spread (whitened).
    """

    def __init__(self, settings: ImageEncoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.network = Network(settings)
        features = self.network.features
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("whitening", torch.eye(features, settings.embedding))
        self.mean: torch.Tensor
        self.whitening: torch.Tensor

    def look(self, frames: pa.Table) -> np.ndarray:
        """What the network sees of each frame, the rest in grey: uint8 [n, s, s, 3].

        Args:
            frames: with the columns `jpeg`, `before` and `after` of remembered frames.
        """
        return shown(seen(frames, self.settings, self.settings.input_px))

    def embed(self, frames: pa.Table) -> np.ndarray:
        """Unit vectors, float32 [n, embedding].

        Args:
            frames: with the columns `jpeg`, `before` and `after` of remembered frames.
        """
        return self._embed(looked_at, frames)

    def embed_ground(self, frames: pa.Table) -> np.ndarray:
        """What is seen beside the things in frames: the room, a hand.

        Args:
            frames: as for `embed`.

        Returns:
            unit vectors, float32 [m, embedding], m at most n; see `ground_of`.
        """
        return self._embed(ground_of, frames)

    @torch.no_grad()
    def _embed(self, look: Look, frames: pa.Table) -> np.ndarray:
        parts = [np.zeros((0, self.settings.embedding), np.float32)]
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            pictures = look(frames.slice(start, FRAMES_AT_ONCE), self.settings)
            if not len(pictures):
                continue
            embedded = self.embedding(self.features(pictures.to(self.mean.device)))
            parts.append(embedded.cpu().numpy())
        return np.concatenate(parts)

    def embedding(self, features: torch.Tensor) -> torch.Tensor:
        """Features [n, features] whitened: unit vectors [n, embedding]."""
        return F.normalize((features - self.mean) @ self.whitening, dim=1)

    def features(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features before whitening, [n, features], of uint8 [n, 4, s, s] from `looked_at`.

        The mean over middle and whole, each seen as it is and mirrored.
        """
        self.eval()
        views = [middle(pictures.float() / 255, share, self.settings.input_px) for share in SHARES]
        views += [view.flip(3) for view in views]
        return torch.stack([self.network.describe(view) for view in views]).mean(dim=0)


def seen(frames: pa.Table, settings: ImageEncoderSettings, side_px: int) -> torch.Tensor:
    """What is looked at in the middle of each frame: float [n, 4, side_px, side_px] in [0, 1].

    Args:
        frames: with the columns `jpeg`, `before` and `after` of remembered frames.
    """
    parts = [torch.zeros(0, 4, side_px, side_px)]
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        pictures = looked_at(frames.slice(start, FRAMES_AT_ONCE), settings).float() / 255
        parts.append(middle(pictures, SHARES[0], side_px).clamp(0, 1))
    return torch.cat(parts)


def shown(pictures: torch.Tensor) -> np.ndarray:
    """Float [n, 4, s, s] in [0, 1] for people, on grey: uint8 [n, s, s, 3]."""
    return (on_grey(pictures) * 255).round().permute(0, 2, 3, 1).to(torch.uint8).numpy()


def middle(pictures: torch.Tensor, share: float, side_px: int) -> torch.Tensor:
    """The middle of [n, c, s, s] with a share of its side, scaled to [n, c, side_px, side_px]."""
    size = round(share * pictures.shape[3])
    first = (pictures.shape[3] - size) // 2
    middle = pictures[:, :, first : first + size, first : first + size]
    return F.interpolate(middle, (side_px, side_px), mode="bilinear", antialias=True)


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
    encoder = ImageEncoder(checkpoints.settings_from(ImageEncoderSettings, card))
    encoder.load_state_dict(checkpoints.weights(home, "image_encoder", sha))
    return encoder.to(device).eval()
