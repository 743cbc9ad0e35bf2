"""Trains the image encoder on the frames in memory."""

import math

import numpy as np
import pyarrow as pa
import torch

from aela.learning import checkpoints, loop
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.loop import Report, silent
from aela.memory import manifest as manifests
from aela.memory.manifest import EmptyMemory, Manifest
from aela.storage import Home
from aela.vision import views
from aela.vision.encoder import ImageEncoder
from aela.vision.pictures import to_tensor
from aela.vision.settings import ImageEncoderSettings
from aela.vision.swav import Prototypes, Queue, swav_loss

MODEL = "image_encoder"
FEWEST_FRAMES = 8
COLUMNS = ["jpeg", "before", "after"]
WARM_UP = 0.05  # share of the training in which the learning rate rises
EMA = 0.99  # the saved weights are a running mean over about a hundred steps
WHITENING_FLOOR = 0.05  # eigenvalues below this share of the mean count as noise


def train_image_encoder(
    home: Home,
    manifest: Manifest,
    settings: ImageEncoderSettings,
    *,
    seed: int,
    device: str = "cpu",
    parent: Checkpoint | None = None,
    report: Report = silent,
) -> Checkpoint:
    """Train an encoder on the frames of `manifest`, without labels or sound, and save it.

    Equal seeds give equal checkpoints on one machine, as long as the budget ends by steps.

    Args:
        parent: a checkpoint with the same settings, whose weights are the starting point.

    Raises:
        EmptyMemory: the manifest holds fewer than FEWEST_FRAMES frames.
        FloatingPointError: the training diverged.
    """
    if manifest.frames < FEWEST_FRAMES:
        raise EmptyMemory(
            f"Memory holds {manifest.frames} frames and the image encoder needs at least "
            f"{FEWEST_FRAMES}; let it watch a longer or sharper video."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = ImageEncoder(settings)
        if parent is not None:
            encoder.load_state_dict(checkpoints.weights(home, MODEL, parent.sha))
        random = torch.Generator().manual_seed(seed)
        tables = list(_frames(home, manifest, settings.frames_most, np.random.default_rng(seed)))
        pictures = torch.from_numpy(np.concatenate([encoder.look(table) for table in tables]))
        video = torch.repeat_interleave(
            torch.arange(len(tables)), torch.tensor([len(table) for table in tables])
        )
        encoder.to(device)
        history, metrics = _learn(encoder, pictures, video, settings, random, device, report)
        metrics |= _fit_whitening(encoder, pictures, device)
    card = Card(
        model=MODEL,
        settings=checkpoints.settings_dict(settings),
        seed=seed,
        manifest=manifest.sha,
        parent=parent.sha if parent else None,
        metrics=history.metrics() | metrics,
        curve=[{"step": float(r.step), **r.losses} for r in history.reports],
    )
    return checkpoints.save(home, card, encoder.state_dict())


def _frames(home: Home, manifest: Manifest, most: int, random: np.random.Generator):
    """The frames of each video in time order, at most `most` in all, drawn evenly."""
    share = min(1.0, most / manifest.frames)
    for _, table in manifests.rows(home, manifest, "frame", COLUMNS):
        keep = max(1, round(share * len(table)))
        rows = np.sort(random.choice(len(table), keep, replace=False))
        yield table.take(pa.array(rows))


def _batches(video: torch.Tensor, batch: int, random: torch.Generator):
    """Endless row numbers [batch]: each pass sees every frame once, the videos mixed."""
    left = torch.zeros(0, dtype=torch.long)
    while True:
        while len(left) < batch:
            left = torch.cat([left, torch.randperm(len(video), generator=random)])
        yield left[:batch]
        left = left[batch:]


def _learn(
    encoder: ImageEncoder,
    pictures: torch.Tensor,
    video: torch.Tensor,
    settings: ImageEncoderSettings,
    random: torch.Generator,
    device: str,
    report: Report,
) -> tuple[loop.History, dict[str, float]]:
    number = settings.prototypes_for(len(pictures))
    prototypes = Prototypes(settings.embedding, number).to(device)
    optimizer = torch.optim.AdamW(
        [*encoder.network.parameters(), *prototypes.parameters()],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    average = torch.optim.swa_utils.AveragedModel(
        encoder.network,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA),
        use_buffers=True,
    )
    queues = (Queue(settings.queue), Queue(settings.queue))
    batches = _batches(video, min(settings.batch, len(pictures)), random)

    def step(index: int, spent: float) -> dict[str, float]:
        encoder.network.train()
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(spent)
        batch = to_tensor(pictures[next(batches)].numpy())
        both = torch.cat([views.view(batch, settings.input_px, random) for _ in range(2)])
        first, second = encoder.network(both.to(device)).chunk(2)
        loss, facts = swav_loss(
            (first, second),
            prototypes,
            queues,
            temperature=settings.temperature,
            epsilon=settings.epsilon,
            iterations=settings.sinkhorn_iterations,
        )
        optimizer.zero_grad()
        loss.backward()
        if spent < settings.frozen_share:
            prototypes.vectors.grad = None
        optimizer.step()
        average.update_parameters(encoder.network)
        return {"loss": float(loss.detach()), **facts}

    history = loop.run(MODEL, step, settings.budget, settings.batch, report)
    encoder.network.load_state_dict(average.module.state_dict())
    return history, {"prototypes": float(number), "loss_of_chance": math.log(number)} | _use(
        encoder, prototypes, pictures, device
    )


def _schedule(spent: float) -> float:
    """Linear rise, then half a cosine down to zero."""
    if spent < WARM_UP:
        return spent / WARM_UP + 0.01
    return 0.5 * (1 + math.cos(math.pi * (spent - WARM_UP) / (1 - WARM_UP)))


@torch.no_grad()
def _embeddings(encoder: ImageEncoder, pictures: torch.Tensor, device: str) -> torch.Tensor:
    encoder.eval()
    return torch.cat(
        [encoder.raw(to_tensor(part.numpy()).to(device)) for part in pictures.split(64)]
    )


@torch.no_grad()
def _use(
    encoder: ImageEncoder, prototypes: Prototypes, pictures: torch.Tensor, device: str
) -> dict[str, float]:
    """The share of prototypes that are the nearest one of some frame: near 0 after a collapse."""
    nearest = prototypes(_embeddings(encoder, pictures, device)).argmax(dim=1)
    number = len(prototypes.vectors)
    return {"prototypes_used": len(nearest.unique()) / min(number, len(pictures))}


@torch.no_grad()
def _fit_whitening(encoder: ImageEncoder, pictures: torch.Tensor, device: str) -> dict[str, float]:
    """Make the embeddings of memory white, and report how many directions they fill.

    `effective_rank` is the exponential of the entropy of the covariance's eigenvalues (Roy and
    Vetterli 2007), 1 after a collapse.
    """
    rows = _embeddings(encoder, pictures, device)
    mean = rows.mean(dim=0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp(min=0)
    shares = values / values.sum().clamp(min=1e-12)
    floor = WHITENING_FLOOR * values.mean()
    encoder.mean.copy_(mean)
    encoder.whitening.copy_(vectors @ torch.diag((values + floor).clamp(min=1e-12).rsqrt()))
    return {"effective_rank": float(torch.xlogy(shares, shares).sum().neg().exp())}
