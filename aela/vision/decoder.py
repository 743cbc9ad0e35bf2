"""The image decoder: draws what an embedding still knows of a picture.

A window for people, trained on top of a frozen encoder. Nothing that predicts uses it.
"""

import dataclasses

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torch.nn import functional as F

from aela.learning import checkpoints, embeddings, loop
from aela.learning.bookmark import Bookmark
from aela.learning.checkpoints import IMAGE_DECODER, Card, Checkpoint
from aela.learning.loop import Report, silent
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import Manifest
from aela.storage import Home
from aela.vision.encoder import FRAMES_AT_ONCE, seen, shown
from aela.vision.network import on_grey
from aela.vision.pictures import VIEWS
from aela.vision.settings import ImageDecoderSettings, ImageEncoderSettings

SIDE = 48  # pixels of a drawn picture
START = 6  # pixels of the smallest map
CHANNELS = (128, 64, 32)  # from START to half of SIDE
HIDDEN = 256
GROUND = 0.05  # weight of colours outside the figure, where the picture is grey anyway
OUTLINE = 0.3  # weight of the figure's outline beside the colours
WARM_UP = 0.05  # share of the training in which the learning rate rises


class ImageDecoder(nn.Module):
    """Image embeddings [n, embedding] to float [n, 4, SIDE, SIDE] in [0, 1].

    Red, green and blue, and how surely a pixel belongs to the figure; `on_grey` joins them.
    """

    def __init__(self, embedding: int) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.start = nn.Sequential(
            nn.Linear(embedding, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, first * START**2)
        )
        self.grow = nn.Sequential(
            nn.BatchNorm2d(first),
            nn.GELU(),
            nn.ConvTranspose2d(first, second, 4, 2, 1),
            nn.BatchNorm2d(second),
            nn.GELU(),
            nn.ConvTranspose2d(second, third, 4, 2, 1),
            nn.BatchNorm2d(third),
            nn.GELU(),
            nn.ConvTranspose2d(third, 4, 4, 2, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.start(images).unflatten(1, (CHANNELS[0], START, START))
        return self.grow(maps).sigmoid()

    @torch.inference_mode()
    def draw(self, images: np.ndarray) -> np.ndarray:
        """Pictures on grey, uint8 [n, SIDE, SIDE, 3], of embeddings [n, embedding]."""
        self.eval()
        device = next(self.parameters()).device
        return shown(self(torch.from_numpy(np.asarray(images, np.float32)).to(device)).cpu())


def seen_on_grey(frames: pa.Table, settings: ImageEncoderSettings) -> np.ndarray:
    """What an encoder looks at in each frame, as small as it is drawn: uint8 [n, SIDE, SIDE, 3].

    Args:
        frames: with the columns `jpeg`, `before` and `after` of remembered frames.
        settings: of the encoder.
    """
    return shown(seen(frames, settings, SIDE))


def train_image_decoder(
    home: Home,
    manifest: Manifest,
    image_encoder: Checkpoint,
    settings: ImageDecoderSettings,
    *,
    seed: int,
    device: str = "cpu",
    report: Report = silent,
) -> Checkpoint:
    """Learn to draw what is looked at in remembered frames from their embeddings, and save it.

    The encoder stays as it is. The card's `error` is the mean difference per colour value, 0 to 1,
    on what it learned from, and `error_of_mean` that of the mean picture.

    Args:
        image_encoder: its embeddings of `manifest` must be there.
    """
    encoder_settings = checkpoints.settings_from(ImageEncoderSettings, image_encoder.card)
    rows = np.linspace(0, manifest.frames - 1, min(manifest.frames, settings.frames_most))
    places = manifests.by_video(manifest.entries, "frame", rows.round().astype(int))
    drawn, known = [], []
    for entry, rows in places:
        manifests.check(home, entry)
        frames = store.read_rows(home, entry.video, "frame", rows.tolist(), list(VIEWS))
        drawn.append(seen(frames, encoder_settings, SIDE))
    of = embeddings.find(home, image_encoder.sha, [entry for entry, _ in places])
    for (entry, rows), images in zip(places, of, strict=True):
        assert images is not None, entry
        known.append(images[rows])
    card = Card(
        model=IMAGE_DECODER,
        settings=checkpoints.settings_dict(settings),
        seed=seed,
        manifest=manifest.sha,
        inputs={"image_encoder": image_encoder.sha},
    )
    bookmark = Bookmark(home, card, device)
    images = torch.from_numpy(np.concatenate(known)).to(device)
    pictures = torch.cat(drawn).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = ImageDecoder(images.shape[1]).to(device)
        history = _learn(decoder, images, pictures, settings, report, bookmark)
    decoder.eval()
    with torch.inference_mode():
        truth = on_grey(pictures)
        parts = zip(images.split(FRAMES_AT_ONCE), truth.split(FRAMES_AT_ONCE), strict=True)
        errors = [(on_grey(decoder(part)) - true).abs().sum() for part, true in parts]
        metrics = {
            **history.metrics(),
            "error": float(torch.stack(errors).sum() / truth.numel()),
            "error_of_mean": float((truth - truth.mean(dim=0)).abs().mean()),
            "frames": float(len(images)),
        }
    card = dataclasses.replace(card, metrics=metrics, curve=history.points())
    checkpoint = checkpoints.save(home, card, decoder.state_dict())
    bookmark.delete()
    return checkpoint


def _learn(
    decoder: ImageDecoder,
    images: torch.Tensor,
    pictures: torch.Tensor,
    settings: ImageDecoderSettings,
    report: Report,
    bookmark: Bookmark,
) -> loop.History:
    optimizer = torch.optim.AdamW(decoder.parameters(), settings.learning_rate, weight_decay=1e-3)
    bookmark.hold(decoder=decoder, optimizer=optimizer)

    def step(index: int, spent: float) -> dict[str, float]:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * loop.one_cycle(spent, WARM_UP)
        rows = torch.randint(len(images), (settings.batch,), device=images.device)
        noise = settings.noise * torch.randn_like(images[rows])
        drawn, truth = decoder(F.normalize(images[rows] + noise, dim=1)), pictures[rows]
        weight = truth[:, 3:] + GROUND
        difference = (drawn[:, :3] - truth[:, :3]).abs().mean(dim=1, keepdim=True)
        colours = (weight * difference).sum() / weight.sum()
        outline = F.binary_cross_entropy(drawn[:, 3:], truth[:, 3:])
        optimizer.zero_grad(set_to_none=True)
        (colours + OUTLINE * outline).backward()
        optimizer.step()
        return {"colours": float(colours.detach()), "outline": float(outline.detach())}

    return loop.run(IMAGE_DECODER, step, settings.budget, settings.batch, report, bookmark)


def current_image_decoder(home: Home, image_encoder: str, manifest: str) -> Checkpoint | None:
    """The decoder of this encoder's embeddings of this manifest, if it was trained."""
    found = checkpoints.current(home, IMAGE_DECODER)
    if found is None or found.card.manifest != manifest:
        return None
    return found if found.card.inputs["image_encoder"] == image_encoder else None


def load_image_decoder(home: Home, sha: str, device: str = "cpu") -> ImageDecoder:
    """
    Raises:
        UnknownCheckpoint: there is none of that hash.
    """
    weights = checkpoints.weights(home, IMAGE_DECODER, sha)
    decoder = ImageDecoder(weights["start.0.weight"].shape[1])
    decoder.load_state_dict(weights)
    return decoder.eval().to(device)
