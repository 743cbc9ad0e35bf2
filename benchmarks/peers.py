"""lightly's SwAV, for comparison: its own modules, transform, loss and example settings.

    pip install --no-deps lightly==1.5.22 lightly_utils lightning_utilities aenum

Without its dependencies, because those of its command line and Dagster's exclude each other. The
settings are those of lightly's example for plain PyTorch (examples/pytorch/swav.py): ResNet18,
projection head 512-512-128, 512 prototypes, multi-crop 2 + 6, Adam with learning rate 1e-3, batches
of 128, for pictures of 64 instead of 224 pixels.
"""

import io
import time
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from aela.memory import manifest as manifests
from aela.memory.manifest import Manifest
from aela.storage import Home
from aela.vision import whitening
from aela.vision.pictures import decode, squeezed
from aela.vision.settings import EMBEDDING

try:
    from lightly.loss import SwaVLoss
    from lightly.models.modules import SwaVProjectionHead, SwaVPrototypes
    from lightly.transforms.swav_transform import SwaVTransform
    from lightly.transforms.utils import IMAGENET_NORMALIZE
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"This benchmark compares with lightly and {missing.name} is missing; install it with "
        "pip install --no-deps lightly==1.5.22 lightly_utils lightning_utilities aenum."
    ) from None

SIDE_PX = 64
SMALL_CROP_PX = 32
FEATURES = 512  # of ResNet18
BATCH = 128
LEARNING_RATE = 1e-3
FRAMES_AT_ONCE = 64

Embed = Callable[[pa.Table], np.ndarray]


class Pictures(Dataset):
    """JPEG files as torchvision's datasets give them out: decoded anew each time, with a label."""

    def __init__(self, jpegs: list[bytes], transform: Callable) -> None:
        self.jpegs, self.transform = jpegs, transform

    def __len__(self) -> int:
        return len(self.jpegs)

    def __getitem__(self, row: int) -> tuple[list[torch.Tensor], int]:
        return self.transform(Image.open(io.BytesIO(self.jpegs[row])).convert("RGB")), 0


class SwaV(nn.Module):
    """Pictures [n, 3, s, s] to their similarities with the prototypes [n, 512]."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])
        self.projection_head = SwaVProjectionHead(512, 512, 128)
        self.prototypes = SwaVPrototypes(128, n_prototypes=512)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        features = self.backbone(pictures).flatten(start_dim=1)
        return self.prototypes(F.normalize(self.projection_head(features), dim=1))


class LightlySwav:
    """lightly's loop, a step at a time.

    Args:
        crops: numbers of large and of small crops of each picture.
        workers: processes that prepare batches; 0: none but this one.

    Raises:
        ValueError: there are too few pictures for a batch.
    """

    def __init__(
        self,
        jpegs: list[bytes],
        *,
        side_px: int = SIDE_PX,
        small_crop_px: int = SMALL_CROP_PX,
        crops: tuple[int, int] = (2, 6),
        batch: int = BATCH,
        workers: int = 0,
    ) -> None:
        if len(jpegs) < batch:
            raise ValueError(f"lightly's SwAV needs {batch} frames, not {len(jpegs)}.")
        transform = SwaVTransform(crop_sizes=(side_px, small_crop_px), crop_counts=crops)
        self.loader = DataLoader(
            Pictures(jpegs, transform),
            batch_size=batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
        )
        self.batches: Iterator = iter(())
        self.model = SwaV()
        self.loss = SwaVLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)

    def views(self) -> list[torch.Tensor]:
        """The next batch, one tensor for each crop; after the last one the next epoch begins."""
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.loader)
            batch = next(self.batches)
        return batch[0]

    def learn(self, views: list[torch.Tensor]) -> None:
        """One gradient step on the crops of one batch, the two large ones first."""
        self.model.prototypes.normalize()
        similarities = [self.model(view) for view in views]
        loss = self.loss(similarities[:2], similarities[2:])
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def jpegs_of(home: Home, manifest: Manifest) -> list[bytes]:
    """The frames of a manifest, in its order."""
    tables = manifests.rows(home, manifest, "frame", ["jpeg"])
    return [jpeg for _, table in tables for jpeg in table["jpeg"].to_pylist()]


def train_lightly_swav(home: Home, manifest: Manifest, *, minutes: float, seed: int) -> Embed:
    """Train lightly's SwAV on the frames of `manifest` and return an embedder of its features.

    Args:
        minutes: of processor time (`time.process_time`: all threads together), data pipeline
            included. Other programs on the machine do not change what is learned in them.

    Returns:
        a function from frames with the column `jpeg` to unit vectors, float32 [n, 128]: the
        backbone's features of the whole frame, whitened on memory as AELA's are.

    Raises:
        ValueError: there are too few frames for a batch.
    """
    numpy_state = np.random.get_state()  # lightly's blur draws from numpy's global generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        swav = LightlySwav(jpegs_of(home, manifest))
        swav.model.train()
        start = time.process_time()
        while time.process_time() - start < 60 * minutes:
            swav.learn(swav.views())
    np.random.set_state(numpy_state)
    backbone = swav.model.backbone.eval()
    mean, std = (torch.tensor(IMAGENET_NORMALIZE[name])[:, None, None] for name in ("mean", "std"))

    @torch.no_grad()
    def described(jpegs: list[bytes]) -> torch.Tensor:
        parts = [torch.zeros(0, FEATURES)]
        for start in range(0, len(jpegs), FRAMES_AT_ONCE):
            some = jpegs[start : start + FRAMES_AT_ONCE]
            pictures = torch.stack([squeezed(decode(jpeg), SIDE_PX) for jpeg in some])
            parts.append(backbone((pictures - mean) / std).flatten(start_dim=1))
        return F.normalize(torch.cat(parts), dim=1)

    white = whitening.fit(described(jpegs_of(home, manifest)), EMBEDDING)

    def embed(frames: pa.Table) -> np.ndarray:
        features = described(frames["jpeg"].to_pylist())
        return F.normalize((features - white.mean) @ white.matrix, dim=1).numpy()

    return embed
