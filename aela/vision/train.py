"""Trains the image encoder on the frames in memory."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.optim.swa_utils import (
    PARAM_LIST,
    AveragedModel,
    get_ema_multi_avg_fn,
    update_bn,
)

from aela.learning import checkpoints, embeddings, loop, rounds
from aela.learning.bookmark import Bookmark, Part
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.loop import Report, silent
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.cache import Cache, Rows, Wanted
from aela.memory.manifest import EmptyMemory, Entry, Manifest
from aela.storage import Home
from aela.vision import whitening
from aela.vision.encoder import FRAMES_AT_ONCE, ImageEncoder, middle, untrained_image_encoder
from aela.vision.network import Network
from aela.vision.pictures import VIEWS, kept_px, looked_at, made_of
from aela.vision.settings import ImageEncoderSettings
from aela.vision.swav import Prototypes, Queue, swav_loss
from aela.vision.views import Views

MODEL = "image_encoder"
FEWEST_FRAMES = 8
NEW_SHARE = 0.2  # of a batch in a round, at least: of more, SwAV makes many prototypes of one thing
OTHER_FRAME = 0.5  # share of the second views that are drawn from around the frame
WARM_UP = 0.05  # share of the training in which the learning rate rises
COLLAPSED = 0.99  # share of the greatest entropy of an assignment to prototypes
COLLAPSED_BY = 0.2  # of the training
FLOOR_IN_ROUNDS = 0.5  # of whitening: where the newest video weighs much, old things need the small


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
        parent: a checkpoint whose weights are the starting point, from which a round goes on (see
            `aela.learning.rounds`): old frames are those whose embeddings by it are on disk.

    A training that collapses early starts again with `centred` embeddings, as its card then tells.

    Raises:
        ValueError: the parent's network is another one.
        EmptyMemory: the manifest holds fewer than FEWEST_FRAMES frames.
        FloatingPointError: the training diverged.
    """
    if manifest.frames < FEWEST_FRAMES:
        raise EmptyMemory(
            f"Memory holds {manifest.frames} frames and the image encoder needs at least "
            f"{FEWEST_FRAMES}; let it watch a longer or sharper video."
        )
    if parent is not None and not settings.same_network(
        checkpoints.settings_from(ImageEncoderSettings, parent.card)
    ):
        raise ValueError(
            f"The image encoder {parent.sha[:8]} has another network than these settings ask for; "
            "train a new one without a parent."
        )
    start = checkpoints.weights(home, MODEL, parent.sha) if parent else None
    card = Card(
        model=MODEL,
        settings=checkpoints.settings_dict(settings),
        seed=seed,
        manifest=manifest.sha,
        parent=parent.sha if parent else None,
    )
    first, second = (Bookmark(home, card, device, attempt) for attempt in (1, 2))
    with torch.random.fork_rng(devices=[]):
        frames = _load(home, manifest, settings, seed, parent)
        try:
            if second.exists():
                raise _Collapse
            encoder, history, metrics = _learn(frames, settings, seed, device, report, first, start)
        except _Collapse:
            # Things of one style look alike to a fresh network: hold their embeddings apart.
            settings = dataclasses.replace(settings, centred=True)
            encoder, history, metrics = _learn(
                frames, settings, seed, device, report, second, start
            )
            card = dataclasses.replace(card, settings=checkpoints.settings_dict(settings))
        metrics |= _fit_whitening(encoder, frames, device)
    card = dataclasses.replace(card, metrics=metrics, curve=history.points())
    checkpoint = checkpoints.save(home, card, encoder.state_dict())
    for bookmark in (first, second):
        bookmark.delete()
    return checkpoint


def save_untrained(
    home: Home, manifest: Manifest, settings: ImageEncoderSettings, *, seed: int
) -> Checkpoint:
    """Save the encoder that training would start from: the baseline that it has to beat.

    Like a trained one it has the statistics of memory, for batch normalisation and for whitening,
    so that learned weights are all it lacks.
    """
    encoder, frames = untrained_image_encoder(settings, seed), _load(home, manifest, settings, seed)
    _fit_normalisation(encoder.network, frames.pictures, settings)
    metrics = _fit_whitening(encoder, frames, "cpu")
    card = Card(
        model=MODEL,
        settings=checkpoints.settings_dict(settings),
        seed=seed,
        manifest=manifest.sha,
        metrics={"steps": 0.0, **metrics},
    )
    return checkpoints.save(home, card, encoder.state_dict())


@dataclass(frozen=True)
class Frames:
    """All that is trained on, row for row: videos one after the other, each in time order."""

    pictures: np.ndarray | Rows
    """uint8 [n, 4, s, s], of `looked_at`, in memory or read from the cache as it is asked for."""
    videos: torch.Tensor
    """int64 [n], the number of the video."""
    times_s: torch.Tensor
    """float64 [n], seconds in the video."""
    old: torch.Tensor
    """bool [n], whether a parent knows the frame; all False without one."""
    before: torch.Tensor
    """float32 [n, embedding], what the parent says of old frames; zeros for the others."""
    new: int
    """The number of new frames in memory, of which these are the ones loaded."""

    def companion(self, row: int, within_s: float, random: torch.Generator) -> int:
        """A random frame of the same video, at most so many seconds away: the thing turned."""
        near = (self.times_s - self.times_s[row]).abs() <= within_s
        rows = torch.nonzero(near & (self.videos == self.videos[row]))[:, 0]
        return int(rows[torch.randint(len(rows), (), generator=random)])


def _load(
    home: Home,
    manifest: Manifest,
    settings: ImageEncoderSettings,
    seed: int,
    parent: Checkpoint | None = None,
) -> Frames:
    """What is looked at in new frames, and in some old ones, drawn evenly from memory."""
    random = np.random.default_rng(seed)
    made, side_px = made_of(settings), kept_px(settings)
    known = rounds.known_to(home, parent)
    new = [entry for entry in manifest.entries if entry not in known]
    old = [entry for entry in manifest.entries if entry in known]
    drawn = [*_drawn(new, settings.frames_most, random), *_drawn(old, settings.replayed, random)]
    if not drawn:
        raise EmptyMemory("No frame is new, and none of the old ones is replayed; add videos.")
    again = [entry for entry, _ in drawn if entry in known]
    parents = embeddings.find(home, parent.sha, again) if parent else iter(())
    wanted, videos, times, before = [], [], [], []
    for number, (entry, rows) in enumerate(drawn):
        look = partial(_look, home, entry.video, settings)
        wanted.append(Wanted(entry.content, entry.frames, rows, made, look))
        videos.append(torch.full((len(rows),), number))
        manifests.check(home, entry)
        table = store.read_frames(home, entry.video, ["time_s"])
        times.append(torch.tensor(table["time_s"].to_numpy()[rows]))
        said = next(parents) if entry in known else None
        nothing = torch.zeros(len(rows), settings.embedding)
        before.append(nothing if said is None else torch.from_numpy(said[rows]))
    said = torch.cat(before)
    return Frames(
        Cache.of(home).load(wanted, (4, side_px, side_px)),
        torch.cat(videos),
        torch.cat(times),
        said.any(dim=1),
        said,
        sum(entry.frames for entry in new),
    )


def _drawn(
    entries: list[Entry], most: int, random: np.random.Generator
) -> list[tuple[Entry, np.ndarray]]:
    """At most so many frames of all entries, drawn evenly: the rows of each that has any."""
    frames = sum(entry.frames for entry in entries)
    return manifests.by_video(entries, "frame", rounds.replayed(frames, most, random))


def _look(home: Home, video: str, settings: ImageEncoderSettings, rows: np.ndarray) -> np.ndarray:
    """What is looked at in some remembered frames: uint8 [n, 4, s, s]."""
    frames = store.read_rows(home, video, "frame", rows.tolist(), list(VIEWS))
    return looked_at(frames, settings).numpy()


def _parts(pictures: np.ndarray | Rows) -> Iterator[torch.Tensor]:
    """All pictures in order, a few at a time."""
    for start in range(0, len(pictures), FRAMES_AT_ONCE):
        yield torch.from_numpy(pictures[start : start + FRAMES_AT_ONCE])


class _Passes:
    """Endless batches of some rows: each pass sees every row once, the videos mixed."""

    def __init__(self, rows: torch.Tensor, batch: int, random: torch.Generator) -> None:
        self.rows, self.batch, self.random = rows, batch, random
        self.left = rows[:0]

    def __next__(self) -> torch.Tensor:
        while len(self.left) < self.batch:
            order = torch.randperm(len(self.rows), generator=self.random)
            self.left = torch.cat([self.left, self.rows[order]])
        batch, self.left = self.left[: self.batch], self.left[self.batch :]
        return batch


class Batches:
    """Endless batches of row numbers, of which new ones have their share, however few they are.

    Args:
        old: bool [n], which rows are old.
    """

    def __init__(self, old: torch.Tensor, batch: int, random: torch.Generator) -> None:
        rows, new = torch.arange(len(old)), int((~old).sum())
        self.passes = [_Passes(rows, batch, random)]
        if 0 < new < NEW_SHARE * len(old):
            share = round(NEW_SHARE * batch)
            self.passes = [
                _Passes(rows[~old], share, random),
                _Passes(rows[old], batch - share, random),
            ]

    def __next__(self) -> torch.Tensor:
        return torch.cat([next(rows) for rows in self.passes])

    def state_dict(self) -> dict[str, list[torch.Tensor]]:
        return {"left": [rows.left for rows in self.passes]}

    def load_state_dict(self, state: dict[str, list[torch.Tensor]]) -> None:
        for rows, left in zip(self.passes, state["left"], strict=True):
            rows.left = left


class _Collapse(Exception):
    """All embeddings became one, so that no prototype is nearer than another."""


class Training:
    """The network that learns, and what it takes to make one step after the other."""

    def __init__(
        self,
        frames: Frames,
        settings: ImageEncoderSettings,
        seed: int,
        device: str,
        start: dict[str, torch.Tensor] | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.frames, self.settings, self.device = frames, settings, device
        self.encoder = ImageEncoder(settings)
        if start is not None:
            # Where only one of the two is `centred`, statistics of batches begin anew.
            own = self.encoder.state_dict()
            self.encoder.load_state_dict({name: start.get(name, own[name]) for name in own})
        self.encoder.to(device)
        self.network = self.encoder.network
        n = len(frames.pictures)
        self.number = settings.prototypes_for(n)
        self.prototypes = Prototypes(settings.embedding, self.number).to(device)
        self.optimizer = torch.optim.AdamW(
            [*self.network.parameters(), *self.prototypes.parameters()],
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        mean = partial(_running_mean, settings.averaged)
        self.average = AveragedModel(self.network, multi_avg_fn=mean, use_buffers=True)
        self.queues = (Queue(settings.queue), Queue(settings.queue))
        self.random = torch.Generator().manual_seed(seed)
        self.view = Views(settings, torch.Generator(device).manual_seed(seed))
        self.batch = min(settings.batch, n)
        if start is not None:
            self._place_prototypes()
        self.batches = Batches(frames.old, self.batch, self.random)

    def parts(self) -> dict[str, Part]:
        """All that a step changes."""
        one, other = self.queues
        return {
            "network": self.network,
            "prototypes": self.prototypes,
            "optimizer": self.optimizer,
            "average": self.average,
            "queue": one,
            "other_queue": other,
            "random": self.random,
            "view_random": self.view.random,
            "batches": self.batches,
        }

    def views(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Two views of each frame of the next batch, float [2 x batch, 4, s, s], first ones first,
        and which frames they are, int [2 x batch].

        Half of the second ones show what was seen shortly before or after.
        """
        first = next(self.batches)
        second = first.clone()
        drawn = torch.rand(len(first), generator=self.random) < OTHER_FRAME
        for place in torch.nonzero(drawn)[:, 0]:
            row = int(first[place])
            second[place] = self.frames.companion(row, self.settings.second_view_s, self.random)
        rows = torch.cat([first, second])
        pictures = torch.from_numpy(self.frames.pictures[rows.numpy()])
        return self.view(pictures.to(self.device) / 255), rows

    def learn(self, views: torch.Tensor, rows: torch.Tensor, spent: float) -> dict[str, float]:
        """One gradient step on what `views` gives; `spent` is the share of the training that is
        over."""
        settings = self.settings
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * loop.one_cycle(spent, WARM_UP)
        old = self.frames.old[rows] if settings.kept else torch.zeros(len(rows), dtype=torch.bool)
        if old.any():
            compared, features = self.network.both(views)
        else:
            compared, features = self.network(views), views[:0]
        one, other = compared.chunk(2)
        loss, facts = swav_loss(
            (one, other),
            self.prototypes,
            self.queues,
            temperature=settings.temperature,
            epsilon=settings.epsilon,
            iterations=settings.sinkhorn_iterations,
        )
        if old.any():
            said = self.encoder.embedding(features[old.to(self.device)])
            before = self.frames.before[rows[old]].to(self.device)
            moved = 1 - (said * before).sum(dim=1).mean()
            loss = loss + settings.kept * moved
            facts["moved"] = float(moved.detach())
        self.optimizer.zero_grad()
        loss.backward()
        if spent < settings.frozen_share:
            self.prototypes.vectors.grad = None
        self.optimizer.step()
        self.average.update_parameters(self.network)
        return {"loss": float(loss.detach()), **facts}

    @torch.no_grad()
    def _place_prototypes(self) -> None:
        """Begin with prototypes where frames are: a network that has learned keeps its order."""
        rows = torch.randperm(len(self.frames.pictures), generator=self.random)[: self.number]
        self.network.eval()
        seen = [
            self.network(middle(part.float() / 255, 1.0, self.settings.input_px).to(self.device))
            for part in _parts(self.frames.pictures[rows.numpy()])
        ]
        self.prototypes.vectors[: len(rows)].copy_(torch.cat(seen))


def _learn(
    frames: Frames,
    settings: ImageEncoderSettings,
    seed: int,
    device: str,
    report: Report,
    bookmark: Bookmark,
    start: dict[str, torch.Tensor] | None = None,
) -> tuple[ImageEncoder, loop.History, dict[str, float]]:
    training = Training(frames, settings, seed, device, start)
    bookmark.hold(**training.parts())
    chance = math.log(training.number)

    def step(index: int, spent: float) -> dict[str, float]:
        facts = training.learn(*training.views(), spent)
        alike = facts["entropy"] > COLLAPSED * chance
        if alike and spent > COLLAPSED_BY and not settings.centred:
            raise _Collapse
        return facts

    budget = settings.budget.of(frames.new)
    history = loop.run(MODEL, step, budget, training.batch, report, bookmark)
    network = training.network
    network.load_state_dict(training.average.module.state_dict())
    used = _prototypes_used(network, training.prototypes, frames.pictures, settings, device)
    metrics = history.metrics() | {
        "frames": float(len(frames.pictures)),
        "prototypes": float(training.number),
        "loss_of_chance": chance,
        "prototypes_used": used,
    }
    return training.encoder, history, metrics


def _running_mean(
    most: int, means: PARAM_LIST, news: PARAM_LIST, count: torch.Tensor | int
) -> None:
    """Over the last tenth of all steps until that is `most`, so that the start is forgotten."""
    steps = float(count)
    get_ema_multi_avg_fn(min(1 - 1 / most, steps / (steps + 10)))(means, news, count)


@torch.no_grad()
def _prototypes_used(
    network: Network,
    prototypes: Prototypes,
    pictures: np.ndarray | Rows,
    settings: ImageEncoderSettings,
    device: str,
) -> float:
    """The share of prototypes that are the nearest one of some frame: near 0 after a collapse."""
    network.eval()
    nearest = [
        prototypes(network(middle(part.float() / 255, 1.0, settings.input_px).to(device)))
        for part in _parts(pictures)
    ]
    used = len(torch.cat(nearest).argmax(dim=1).unique())
    return used / min(len(prototypes.vectors), len(pictures))


def _fit_normalisation(
    network: Network, pictures: np.ndarray | Rows, settings: ImageEncoderSettings
) -> None:
    """Fit the means and variances of batch normalisation to memory, as training does in passing."""
    parts = (part for part in _parts(pictures) if len(part) > 1)  # one picture has no spread
    update_bn((middle(part.float() / 255, 1.0, settings.input_px) for part in parts), network)


@torch.no_grad()
def _fit_whitening(encoder: ImageEncoder, frames: Frames, device: str) -> dict[str, float]:
    """Whiten the embedding on memory.

    Then it is turned so that old frames lie as near as can be to where they lay before, which
    changes no distance between embeddings (orthogonal Procrustes: Schönemann 1966). What the head
    says is taken as it is.

    Returns the `effective_rank` of the features, and how near old frames lie to where they lay,
    `kept`, a mean cosine.
    """
    parts = _parts(frames.pictures)
    features = torch.cat([encoder.features(part.to(device)) for part in parts]).cpu()
    settings, old, before = encoder.settings, frames.old, frames.before[frames.old]
    floor = FLOOR_IN_ROUNDS if old.any() else whitening.FLOOR
    fitted = whitening.fit(features, settings.embedding, floor)
    metrics = {"effective_rank": fitted.effective_rank}
    if settings.described_by != "head":
        encoder.mean.copy_(fitted.mean)
        encoder.whitening.copy_(fitted.matrix)
        if settings.aligned and old.any():
            now = encoder.embedding(features[old].to(device)).cpu()
            left, _, right = torch.linalg.svd(now.T @ before)
            encoder.whitening.copy_(encoder.whitening @ (left @ right).to(device))
    if old.any():
        now = encoder.embedding(features[old].to(device)).cpu()
        metrics["kept"] = float((now * before).sum(dim=1).mean())
    return metrics
