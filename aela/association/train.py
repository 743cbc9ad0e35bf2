"""Trains the associator on moments: pairs of an image embedding and a word embedding."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from aela.association.associator import Associator
from aela.association.consensus import consensus
from aela.association.pairs import read_pairs
from aela.association.settings import AssociatorSettings
from aela.learning import checkpoints, embeddings, rounds
from aela.learning.bookmark import Bookmark
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.loop import History, Report, one_cycle, run, silent
from aela.memory import store
from aela.memory.manifest import EmptyMemory, Manifest
from aela.storage import Home


@dataclass(frozen=True)
class Moments:
    """Everything the associator learns from; rows of `pairs` index `images` and `words`.

    Attributes:
        images: float32 [frames, image], words: float32 [clips, word] embeddings.
        pairs: int64 [p, 2], weights: float32 [p].
        videos: int64 [clips], starts_s: float64 [clips], where the clips come from.
        new: the number of clips that a parent does not know.
    """

    images: torch.Tensor
    words: torch.Tensor
    pairs: torch.Tensor
    weights: torch.Tensor
    videos: torch.Tensor
    starts_s: torch.Tensor
    new: int


def load_moments(
    home: Home,
    manifest: Manifest,
    image_encoder: str,
    word_autoencoder: str,
    pairs: str,
    settings: AssociatorSettings,
    seed: int,
    parent: Checkpoint | None = None,
) -> Moments:
    """Join the pairs table with both embeddings.

    Args:
        settings: tell how many moments are drawn at most, evenly.
        parent: what it knows is old; the weights are such that new moments have their share
            (`aela.learning.rounds`).

    Raises:
        EmptyMemory: no frame is close to a clip in time.
    """
    images, image_offsets = embeddings.gather(home, image_encoder, manifest, "frame")
    words, word_offsets = embeddings.gather(home, word_autoencoder, manifest, "clip")
    table = read_pairs(home, pairs)
    if not len(table):
        raise EmptyMemory(
            "No frame lies close to a spoken word; add videos in which things are named "
            "while they are seen."
        )
    by_parent = rounds.known_to(home, parent)
    known = {entry.video for entry in manifest.entries if entry in by_parent}
    videos = table["video"].to_pylist()
    old = np.flatnonzero([video in known for video in videos])
    new = np.flatnonzero([video not in known for video in videos])
    rng = np.random.default_rng(seed)
    old = old[rounds.replayed(len(old), settings.replayed, rng)]
    new = new[rounds.replayed(len(new), settings.moments_most, rng)]
    rows = np.concatenate([new, old])
    if not len(rows):
        raise EmptyMemory("No moment is new, and none of the old ones is replayed; add videos.")
    frame = np.array([image_offsets[v] for v in videos]) + table["frame"].to_numpy()
    clip = np.array([word_offsets[v] for v in videos]) + table["clip"].to_numpy()
    chances = rounds.balanced(np.arange(len(new)), np.arange(len(new), len(rows)))
    weights = table["weight"].to_numpy()[rows] * chances * len(rows)
    starts, video = [], []
    for index, entry in enumerate(e for e in manifest.entries if e.clips):
        clip_starts = store.read_clips(home, entry.video, ["start_s"])["start_s"].to_numpy()
        starts.append(clip_starts)
        video.append(np.full(len(clip_starts), index))
    return Moments(
        torch.from_numpy(images),
        torch.from_numpy(words),
        torch.from_numpy(np.stack([frame, clip], axis=1)[rows]),
        torch.from_numpy(weights.astype(np.float32)),
        torch.from_numpy(np.concatenate(video)),
        torch.from_numpy(np.concatenate(starts)),
        sum(entry.clips for entry in manifest.entries if entry.video not in known),
    )


def train_associator(
    home: Home,
    manifest: Manifest,
    image_encoder: Checkpoint,
    word_autoencoder: Checkpoint,
    pairs: str,
    settings: AssociatorSettings,
    *,
    seed: int,
    device: str = "cpu",
    parent: Checkpoint | None = None,
    report: Report = silent,
) -> Checkpoint:
    """Learn to predict the word embedding that goes with an image embedding, see `fit`.

    Args:
        pairs: hash of the pairs table that `make_pairs` wrote.
        parent: start from its weights if it joins what `image_encoder` and `word_autoencoder`
            went on from, and replay what it knows; else, as all means something else, from scratch.

    Raises:
        EmptyMemory: there are no moments to learn from.
    """
    senses = image_encoder.sha, word_autoencoder.sha
    if parent and not all(_goes_on(one, parent) for one in (image_encoder, word_autoencoder)):
        parent = None
    torch.manual_seed(seed)
    moments = load_moments(home, manifest, *senses, pairs, settings, seed, parent)
    model = untrained(moments, settings)
    if parent:
        model.load_state_dict(checkpoints.weights(home, "associator", parent.sha))
    card = Card(
        model="associator",
        settings=checkpoints.settings_dict(settings),
        seed=seed,
        manifest=manifest.sha,
        parent=parent.sha if parent else None,
        inputs={
            "image_encoder": image_encoder.sha,
            "word_autoencoder": word_autoencoder.sha,
            "pairs": pairs,
        },
    )
    bookmark = Bookmark(home, card, device)
    history = fit(model, moments, settings, device=device, report=report, bookmark=bookmark)
    metrics = {**history.metrics(), "moments": float(len(moments.pairs))}
    card = replace(card, metrics=metrics, curve=history.points())
    checkpoint = checkpoints.save(home, card, model.state_dict())
    bookmark.delete()
    return checkpoint


def _goes_on(sense: Checkpoint, parent: Checkpoint) -> bool:
    """Whether what a sense says still means what it meant to an associator."""
    return parent.card.inputs[sense.card.model] in (sense.sha, rounds.takes_over_from(sense))


def untrained(moments: Moments, settings: AssociatorSettings) -> Associator:
    """An associator of the sizes that moments and settings ask for."""
    return Associator(
        moments.images.shape[1],
        moments.words.shape[1],
        settings.layers,
        settings.width,
        settings.dropout,
    )


def fit(
    model: Associator,
    moments: Moments,
    settings: AssociatorSettings,
    *,
    device: str = "cpu",
    report: Report = silent,
    bookmark: Bookmark | None = None,
) -> History:
    """Train `model` on moments; chance follows torch's global seed.

    The loss is the squared error, as in the article, plus a contrastive term over remembered clips
    (InfoNCE, van den Oord et al. 2018, section 2.3): squared error alone averages the words that
    compete for a picture into one that nobody said. Moments are drawn by their weights and by
    consensus (see `aela.association.consensus`).
    """
    model.fit_scales(moments.images, moments.words)
    model = model.to(device).train()
    images = model.standard_images(moments.images.to(device))
    words = model.standard_words(moments.words.to(device))
    pair, weight = moments.pairs.to(device), moments.weights.to(device)
    if settings.consensus:
        weight = weight * consensus(images, words, pair, settings.consensus)
    videos, starts_s = moments.videos.to(device), moments.starts_s.to(device)

    def neutral(clips: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Which others are no negatives of clips: bool [clips, others]."""
        near = (starts_s[clips, None] - starts_s[others]).abs() < settings.neutral_s
        return near & (videos[clips, None] == videos[others])

    optimizer = torch.optim.AdamW(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    if bookmark:
        bookmark.hold(model=model, optimizer=optimizer)

    def step(index: int, spent: float) -> dict[str, float]:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * one_cycle(spent)
        chosen = torch.multinomial(weight, settings.batch, replacement=True)
        frame, clip = pair[chosen].T
        seen = images[frame] + settings.image_noise * torch.randn_like(images[frame])
        heard = words[clip] + settings.word_noise * torch.randn_like(words[clip])
        predicted = model.mlp(seen)
        loss = squared = F.mse_loss(predicted, heard)
        if settings.contrast:
            contrast = _contrast(predicted, clip, words, neutral, settings)
            loss = squared + settings.contrast * contrast
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"loss": float(loss.detach()), "squared": float(squared.detach())}

    budget = settings.budget.of(moments.new)
    return run("associator", step, budget, settings.batch, report, bookmark)


def _contrast(
    predicted: torch.Tensor,
    clip: torch.Tensor,
    words: torch.Tensor,
    neutral: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    settings: AssociatorSettings,
) -> torch.Tensor:
    """Cross-entropy of picking the moment's own clip [batch] among remembered ones."""
    candidates = torch.arange(len(words), device=words.device)
    if len(words) > settings.candidates:
        others = torch.randperm(len(words), device=words.device)[: settings.candidates]
        candidates = torch.unique(torch.cat([clip, others]))
    similarity = F.normalize(predicted, dim=1) @ F.normalize(words[candidates], dim=1).T
    own = candidates[None] == clip[:, None]
    masked = neutral(clip, candidates) & ~own
    logits = (similarity / settings.contrast_temperature).masked_fill(masked, -torch.inf)
    return F.cross_entropy(logits, own.int().argmax(dim=1))
