"""The mel autoencoder: a word's spectrogram to a sequence of code vectors and back.

Seven convolutions halve the 128 bands down to one, six transposed convolutions bring them back
(AELA0, section "mel autoencoder"). Being convolutional in time, it takes words of any length
without seams; `block_s` cuts them into independent blocks as the article does.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aela.learning import checkpoints
from aela.learning.bookmark import Bookmark
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.loop import Report, run, silent
from aela.memory.manifest import Manifest
from aela.speech.mel import BANDS, HOP_S
from aela.speech.schedule import optimizer, set_rate
from aela.speech.settings import MelAutoencoderSettings
from aela.speech.trial import Trial
from aela.speech.words import lesson
from aela.storage import Home

MODEL = "mel_autoencoder"
STRIDE = 4  # frames per code vector: 40 ms

WIDTHS = (1, 1, 1.5, 2, 3, 4)  # channels of the first six convolutions, relative to the first
GROUPS = 8  # of the group norms
DOWN_IN_TIME = (False, True, False, True, False, False)
UP_IN_TIME = (False, False, True, False, True, False)


class MelAutoencoder(nn.Module):
    """Log-mel features [batch, frames, BANDS] <-> code vectors [batch, steps, code]."""

    def __init__(self, settings: MelAutoencoderSettings) -> None:
        super().__init__()
        self.settings = settings
        self.block = round(settings.block_s / HOP_S / STRIDE) * STRIDE
        widths = [round(w * settings.width / GROUPS) * GROUPS for w in WIDTHS]
        down: list[nn.Module] = []
        for before, after, in_time in zip([1, *widths[:-1]], widths, DOWN_IN_TIME, strict=True):
            kernel, stride = ((4, 4), (2, 2)) if in_time else ((4, 3), (2, 1))
            down += [
                nn.Conv2d(before, after, kernel, stride, 1),
                nn.GroupNorm(GROUPS, after),
                nn.GELU(),
            ]
        self.down = nn.Sequential(*down, nn.Conv2d(widths[-1], settings.code, (2, 3), 1, (0, 1)))
        up: list[nn.Module] = []
        outer = [*widths[-2::-1], 1]
        for i, (before, after, in_time) in enumerate(
            zip([settings.code, *outer[:-1]], outer, UP_IN_TIME, strict=True)
        ):
            kernel, stride = ((4, 4), (2, 2)) if in_time else ((4, 3), (2, 1))
            if i == 0:
                up.append(nn.ConvTranspose2d(before, after, (4, 3), (4, 1), (0, 1)))
            else:
                up.append(nn.ConvTranspose2d(before, after, kernel, stride, 1))
            if after != 1:
                up += [nn.GroupNorm(GROUPS, after), nn.GELU()]
        self.up = nn.Sequential(*up)

    def steps(self, frames: int) -> int:
        """How many code vectors a word of so many frames has."""
        whole = self.block or STRIDE
        return math.ceil(frames / whole) * whole // STRIDE

    def encode(self, features: Tensor) -> Tensor:
        """[batch, frames, BANDS] -> [batch, steps(frames), code]; zeros are put at the end."""
        batch, frames, _ = features.shape
        padded = F.pad(features, (0, 0, 0, self.steps(frames) * STRIDE - frames))
        if self.block:
            padded = padded.reshape(-1, self.block, BANDS)
        codes = self.down(padded.transpose(1, 2)[:, None])[:, :, 0].transpose(1, 2)
        return codes.reshape(batch, -1, codes.shape[-1])

    def decode(self, codes: Tensor) -> Tensor:
        """[batch, steps, code] -> features [batch, steps * STRIDE, BANDS], none below zero."""
        batch, _, size = codes.shape
        if self.block:
            codes = codes.reshape(-1, self.block // STRIDE, size)
        features = self.up(codes.transpose(1, 2)[:, :, None])[:, 0].transpose(1, 2)
        return F.softplus(features).reshape(batch, -1, BANDS)

    def forward(self, features: Tensor) -> Tensor:
        """[batch, frames, BANDS] -> the same, through the codes."""
        return self.decode(self.encode(features))[:, : features.shape[1]]


def padded_batch(words: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Words of different lengths as one batch.

    Returns:
        float32 [batch, most frames, BANDS] with zeros at the ends, and the lengths, int [batch].
    """
    lengths = torch.tensor([len(word) for word in words])
    return nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in words], True), lengths


def masked_error(predicted: Tensor, truth: Tensor, lengths: Tensor) -> Tensor:
    """Mean squared error over the first `lengths` steps of [batch, steps, values]."""
    inside = torch.arange(truth.shape[1], device=truth.device) < lengths[:, None]
    return (predicted - truth)[inside].square().mean()


def train_mel_autoencoder(
    home: Home,
    manifest: Manifest,
    settings: MelAutoencoderSettings,
    *,
    seed: int,
    device: str = "cpu",
    parent: Checkpoint | None = None,
    report: Report = silent,
) -> Checkpoint:
    """Train on the manifest's words; go on from `parent` if given, see `aela.learning.rounds`.

    Raises:
        EmptyMemory: the manifest holds fewer than two words.
    """
    rng = np.random.default_rng(seed)
    learned = lesson(home, manifest, parent, settings, rng)
    words = [word.features for word in learned.words]
    torch.manual_seed(seed)
    network = MelAutoencoder(settings)
    if parent:
        network.load_state_dict(checkpoints.weights(home, MODEL, parent.sha))
    network.to(device)
    optimise = optimizer(network, settings.learning_rate, settings.weight_decay)
    crop = max(STRIDE, round(max(settings.crop_s, settings.block_s) / HOP_S))

    @torch.no_grad()
    def measure(numbers: np.ndarray) -> dict[str, float]:
        errors = []
        # One by one, as they are encoded later: padding would be coded, too.
        for number in numbers:
            features, length = (part.to(device) for part in padded_batch([words[number]]))
            errors.append(masked_error(network(features), features, length).item())
        return {"held_out_mel": float(np.mean(errors))}

    trial = Trial(learned.chances, learned.new, rng, measure)

    def step(index: int, spent: float) -> dict[str, float]:
        set_rate(optimise, settings.learning_rate, index, spent)
        picked = [words[i] for i in trial.draw(spent, settings.batch)]
        starts = [rng.integers(max(1, len(word) - crop + 1)) for word in picked]
        features, lengths = padded_batch(
            [word[at : at + crop] for word, at in zip(picked, starts, strict=True)]
        )
        features, lengths = features.to(device), lengths.to(device)
        loss = masked_error(network(features), features, lengths)
        optimise.zero_grad()
        loss.backward()
        optimise.step()
        return {"mel": loss.item()}

    card = Card(
        MODEL,
        checkpoints.settings_dict(settings),
        seed,
        manifest.sha,
        parent.sha if parent else None,
    )
    bookmark = Bookmark(home, card, device)
    bookmark.hold(network=network, optimizer=optimise, random=rng, trial=trial)
    budget = settings.budget.of(learned.remembered)
    history = run(MODEL, step, budget, settings.batch, report, bookmark)
    metrics = {**history.metrics(), **trial.figures}
    card = replace(card, metrics=metrics, curve=history.points())
    checkpoint = checkpoints.save(home, card, network.state_dict())
    bookmark.delete()
    return checkpoint


def load_mel_autoencoder(home: Home, sha: str, device: str = "cpu") -> MelAutoencoder:
    """The trained network, frozen.

    Raises:
        UnknownCheckpoint: there is none of that name.
    """
    card = checkpoints.read(home, MODEL, sha).card
    network = MelAutoencoder(checkpoints.settings_from(MelAutoencoderSettings, card))
    network.load_state_dict(checkpoints.weights(home, MODEL, sha))
    return network.eval().requires_grad_(False).to(device)
