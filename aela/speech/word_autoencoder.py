"""The word autoencoder: a word of any length to one code and back.

An LSTM reads the code vectors of the mel autoencoder; its last state becomes the word's code. A
linear layer predicts the length from the code, and a second LSTM, fed the code and the relative
position at every step, writes the code vectors (AELA0, section "word autoencoder").
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aela.learning import checkpoints, embeddings
from aela.learning.bookmark import Bookmark, Part
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.loop import Report, run, silent
from aela.memory.manifest import Manifest
from aela.speech.likeness import UNKNOWN, likeness
from aela.speech.mel_autoencoder import (
    STRIDE,
    MelAutoencoder,
    load_mel_autoencoder,
    masked_error,
)
from aela.speech.schedule import optimizer, set_rate
from aela.speech.settings import WordAutoencoderSettings
from aela.speech.trial import Trial
from aela.speech.voices import another_voice
from aela.speech.words import Lesson, lesson
from aela.storage import Home

MODEL = "word_autoencoder"
LAYERS = 2  # of each LSTM
WAVES = 4  # sines and cosines that tell the decoder where in the word it is
LEAST_SPREAD = 1e-3  # of code vectors and lengths, when all words are alike
LONGEST_FRAMES = 2000  # 20 s: no code makes a longer word
GRADIENT_NORM = 1.0
ALIKE_WEIGHT = 4.0
LIKENESS_RAMP = 0.3  # share of the budget: before there is something to tell apart, all collapses
LEAST_CHANCE = 1e-9  # of a word to be drawn as the likeness of another
MOST_MEASURED = 256  # words, for the figures on the card
MOST_COPIES = 8000  # words in other voices, all together: about 30 s to make
OTHER_VOICE_SHARE = 0.75  # of the words in a batch, when there are other voices


class WordAutoencoder(nn.Module):
    """Code vectors [batch, steps, vector] of words <-> codes [batch, code] in (-1, 1).

    Keeps mean and spread of the code vectors and of the logarithm of the lengths it was trained
    on, so that all that it learns is of one size.
    """

    mean: Tensor
    spread: Tensor
    length_mean: Tensor
    length_spread: Tensor

    def __init__(self, settings: WordAutoencoderSettings, vector: int) -> None:
        super().__init__()
        self.size = settings.size
        self.less_colour = settings.less_colour
        self.reader = nn.LSTM(vector, settings.size, LAYERS, batch_first=True)
        self.to_code = nn.Linear(settings.size, settings.code)
        self.to_length = nn.Linear(settings.code, 1)
        self.to_state = nn.Linear(settings.code, 2 * LAYERS * settings.size)
        self.writer = nn.LSTM(
            settings.code + 1 + 2 * WAVES, settings.size, LAYERS, batch_first=True
        )
        self.to_vector = nn.Linear(settings.size, vector)
        self.register_buffer("mean", torch.zeros(vector))
        self.register_buffer("spread", torch.ones(vector))
        self.register_buffer("length_mean", torch.zeros(()))
        self.register_buffer("length_spread", torch.ones(()))

    def fit_scale(self, vectors: Tensor, frames: Tensor) -> None:
        """Take mean and spread from code vectors [n, vector] and lengths in frames [words]."""
        self.mean.copy_(vectors.mean(0))
        self.spread.copy_(vectors.std(0).clamp_min(LEAST_SPREAD))
        self.length_mean.copy_(frames.float().log().mean())
        self.length_spread.copy_(frames.float().log().std().clamp_min(LEAST_SPREAD))

    def normalise(self, vectors: Tensor) -> Tensor:
        return (vectors - self.mean) / self.spread

    def encode(self, normal: Tensor, steps: Tensor) -> Tensor:
        """Normalised code vectors [batch, most steps, vector], steps int [batch] -> [batch, code].

        The state after a word's last step is read: what is padded behind it has no influence.
        """
        inside = torch.arange(normal.shape[1], device=normal.device) < steps[:, None]
        colour = (normal * inside[..., None]).sum(1) / steps[:, None]
        states, _ = self.reader(normal - self.less_colour * colour[:, None])
        return torch.tanh(self.to_code(states[torch.arange(len(states)), steps - 1]))

    def normal_length(self, frames: Tensor) -> Tensor:
        """Lengths in frames [batch] -> their normalised logarithm, as `log_length` predicts it."""
        return (frames.float().log() - self.length_mean) / self.length_spread

    def log_length(self, codes: Tensor) -> Tensor:
        """Codes [batch, code] -> logarithm of the lengths in frames, normalised [batch]."""
        return self.to_length(codes)[:, 0]

    def frames(self, codes: Tensor) -> Tensor:
        """Codes [batch, code] -> lengths in frames, int [batch], 1 to LONGEST_FRAMES."""
        lengths = torch.exp(self.log_length(codes) * self.length_spread + self.length_mean)
        return lengths.round().clamp(1, LONGEST_FRAMES).long()

    def decode(self, codes: Tensor, frames: Tensor, steps: int) -> Tensor:
        """Codes [batch, code], lengths in frames [batch] -> normalised [batch, steps, vector]."""
        place = (torch.arange(steps, device=codes.device) + 0.5) * STRIDE / frames[:, None]
        waves = place[..., None] * torch.pi * torch.arange(1, WAVES + 1, device=codes.device)
        where = torch.cat([2 * place[..., None] - 1, waves.sin(), waves.cos()], -1)
        inputs = torch.cat([codes[:, None].expand(-1, steps, -1), where], -1)
        state = torch.tanh(self.to_state(codes)).view(len(codes), 2, LAYERS, self.size)
        hidden, cell = state.permute(1, 2, 0, 3).contiguous()
        states, _ = self.writer(inputs, (hidden, cell))
        return self.to_vector(states)


def code_vectors(mel: MelAutoencoder, features: list[np.ndarray], device: str) -> list[Tensor]:
    """Code vectors [steps, vector] of each word."""
    with torch.inference_mode():
        return [mel.encode(torch.from_numpy(word).to(device)[None])[0].clone() for word in features]


def likeness_error(codes: Tensor, picked: Tensor, alike: Tensor) -> Tensor:
    """How far the cosines between codes are from how alike the words sound.

    Args:
        codes: [batch, code], the codes of the words numbered `picked`, int [batch].
        alike: [words, words], 0 to 1, or UNKNOWN.

    Returns:
        Mean squared error, in which alike pairs, being few, count ALIKE_WEIGHT times more.
    """
    directions = F.normalize(codes, dim=1)
    wanted = alike[picked][:, picked]
    errors = (directions @ directions.T - wanted).square() * (1 + ALIKE_WEIGHT * wanted)
    counts = (picked[:, None] != picked) & (wanted != UNKNOWN)
    return errors[counts].sum() / max(1, int(counts.sum()))


def _with_likenesses(picked: Tensor, alike: Tensor, held_out: np.ndarray) -> Tensor:
    """`picked`, the second half replaced by words that sound like those of the first half, none of
    them held out."""
    half = len(picked) // 2
    chances = alike[picked[:half]].clamp_min(0).square() + LEAST_CHANCE
    chances[torch.arange(half), picked[:half]] = 0
    chances[:, held_out] = 0
    others = torch.multinomial(chances, 1)[:, 0] if half else picked[:0]
    return torch.cat([picked[: len(picked) - half], others])


def _voices(count: int, batch: int, rng: np.random.Generator) -> np.ndarray:
    """Which of `count` voices each word of a batch is read in, int [batch]; 0 is its own."""
    if count == 1:
        return np.zeros(batch, int)
    others = rng.integers(1, count, batch)
    return np.where(rng.random(batch) < OTHER_VOICE_SHARE, others, 0)


def _codes_before(home: Home, parent: Checkpoint | None, learned: Lesson, size: int) -> Tensor:
    """What the parent made of the words of a lesson: float32 [words, code], zeros where nothing."""
    codes = torch.zeros(len(learned.words), size)
    if parent is None:
        return codes
    row = learned.new
    known = embeddings.find(home, parent.sha, [entry for entry, _ in learned.again], "clip")
    for (_, clips), of in zip(learned.again, known, strict=True):
        if of is not None:
            codes[row : row + len(clips)] = torch.from_numpy(of[clips])
        row += len(clips)
    return codes


class Training:
    """The network that learns, the words it learns from, and what it takes to make one step.

    Args:
        before: float32 [words, code], what the parent made of them; zeros where nothing.
        start: weights to go on from.
    """

    def __init__(
        self,
        learned: Lesson,
        mel: MelAutoencoder,
        before: Tensor,
        settings: WordAutoencoderSettings,
        rng: np.random.Generator,
        device: str,
        start: dict[str, Tensor] | None = None,
    ) -> None:
        self.settings, self.rng, self.device = settings, rng, device
        features = [word.features for word in learned.words]
        self.frames = torch.tensor([len(word) for word in features], device=device)
        self.steps = torch.tensor([mel.steps(len(word)) for word in features], device=device)
        self.voices = [code_vectors(mel, features, device)]  # voices[0] is the word's own
        for _ in range(min(settings.other_voices, max(1, MOST_COPIES // len(features)))):
            changed = [another_voice(word, rng) for word in features]
            self.voices.append(code_vectors(mel, changed, device))
        self.network = WordAutoencoder(settings, mel.settings.code)
        if start is not None:
            self.network.load_state_dict(start)
        self.network.to(device)
        self.network.fit_scale(torch.cat(self.voices[0]), self.frames)
        self.lengths = self.network.normal_length(self.frames)
        self.before = before.to(device)
        if settings.likeness_weight:
            self.alike = torch.from_numpy(likeness(learned.words, rng)).to(device)
        self.optimizer = optimizer(self.network, settings.learning_rate, settings.weight_decay)
        self.trial = Trial(learned.chances, learned.new, rng, self.measure)

    def parts(self) -> dict[str, Part]:
        """All that a step changes."""
        return {
            "network": self.network,
            "optimizer": self.optimizer,
            "random": self.rng,
            "trial": self.trial,
        }

    def step(self, index: int, spent: float) -> dict[str, float]:
        """One gradient step; `spent` is the share of the training that is over."""
        settings = self.settings
        set_rate(self.optimizer, settings.learning_rate, index, spent)
        picked = torch.from_numpy(self.trial.draw(spent, settings.batch)).to(self.device)
        if settings.likeness_weight:
            picked = _with_likenesses(picked, self.alike, self.trial.held_out)
        losses = self._losses(picked)
        weights = {
            "reconstruction": 1.0,
            "length": settings.length_weight,
            "likeness": settings.likeness_weight * min(1.0, spent / LIKENESS_RAMP),
            "cycle": settings.cycle_weight,
            "moved": settings.kept,
        }
        self.optimizer.zero_grad()
        torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        return {name: loss.item() for name, loss in losses.items()}

    def _losses(self, picked: Tensor) -> dict[str, Tensor]:
        """Of the words numbered `picked`, int [batch], by name; only those that count."""
        settings, network = self.settings, self.network
        frames, steps = self.frames[picked], self.steps[picked]
        truth = self._batch(picked, np.zeros(len(picked), int))
        voices = _voices(len(self.voices), len(picked), self.rng)
        codes = network.encode(self._batch(picked, voices), steps)
        noisy = codes + settings.code_noise * torch.randn_like(codes)
        written = network.decode(noisy, frames, truth.shape[1])
        losses = {
            "reconstruction": masked_error(written, truth, steps),
            "length": (network.log_length(noisy) - self.lengths[picked]).square().mean(),
        }
        if settings.likeness_weight:
            losses["likeness"] = likeness_error(codes, picked, self.alike)
        if settings.cycle_weight:
            again = network.encode(written, steps)
            losses["cycle"] = (again - noisy.detach().clamp(-1, 1)).square().mean()
        old = self.before[picked].any(dim=1)
        if settings.kept and old.any():
            losses["moved"] = (codes[old] - self.before[picked[old]]).square().mean()
        return losses

    def _batch(self, picked: Tensor, chosen: np.ndarray) -> Tensor:
        """The picked words, each in its chosen voice: normalised [batch, most steps, vector]."""
        vectors = [self.voices[v][i] for v, i in zip(chosen, picked.tolist(), strict=True)]
        return self.network.normalise(nn.utils.rnn.pad_sequence(vectors, True))

    @torch.no_grad()
    def measure(self, numbers: np.ndarray, name: str = "held_out") -> dict[str, float]:
        """Figures of the words of these numbers, for the card."""
        picked = torch.from_numpy(numbers).to(self.device)
        frames, steps = self.frames[picked], self.steps[picked]
        truth = self._batch(picked, np.zeros(len(picked), int))
        codes = self.network.encode(truth, steps)
        written = self.network.decode(codes, frames, truth.shape[1])
        off = (self.network.frames(codes) / frames - 1).abs()
        return {
            f"{name}_reconstruction": masked_error(written, truth, steps).item(),
            f"{name}_length_error": off.median().item(),
        }

    @torch.no_grad()
    def kept(self) -> dict[str, float]:
        """How near the codes of old words lie to where they lay, both without their mean: `kept`, a
        mean cosine; nothing where nothing is old.
        """
        old = self.before.any(dim=1).nonzero()[:, 0][:MOST_MEASURED]
        if not len(old):
            return {}
        truth = self._batch(old, np.zeros(len(old), int))
        now, before = self.network.encode(truth, self.steps[old]), self.before[old]
        near = F.cosine_similarity(now - now.mean(dim=0), before - before.mean(dim=0))
        return {"kept": near.mean().item()}


def train_word_autoencoder(
    home: Home,
    manifest: Manifest,
    mel: Checkpoint,
    settings: WordAutoencoderSettings,
    *,
    seed: int,
    device: str = "cpu",
    parent: Checkpoint | None = None,
    report: Report = silent,
) -> Checkpoint:
    """Train on the manifest's words as `mel` codes them; go on from `parent` if given, see
    `aela.learning.rounds`: the codes of old words stay near those that it has on disk.

    Raises:
        EmptyMemory: the manifest holds fewer than two words.
        UnknownCheckpoint: the home does not hold the mel autoencoder.
    """
    rng = np.random.default_rng(seed)
    learned = lesson(home, manifest, parent, settings, rng)
    mel_network = load_mel_autoencoder(home, mel.sha, device)
    start = checkpoints.weights(home, MODEL, parent.sha) if parent else None
    before = _codes_before(home, parent, learned, settings.code)
    torch.manual_seed(seed)
    training = Training(learned, mel_network, before, settings, rng, device, start)
    card = Card(
        MODEL,
        checkpoints.settings_dict(settings),
        seed,
        manifest.sha,
        parent.sha if parent else None,
        {"mel_autoencoder": mel.sha},
    )
    bookmark = Bookmark(home, card, device)
    bookmark.hold(**training.parts())
    budget = settings.budget.of(learned.remembered)
    history = run(MODEL, training.step, budget, settings.batch, report, bookmark)
    some = rng.permutation(len(learned.words))[:MOST_MEASURED]
    metrics = {**history.metrics(), **training.trial.figures, **training.measure(some, "seen")}
    metrics |= training.kept()
    card = replace(card, metrics=metrics, curve=history.points())
    checkpoint = checkpoints.save(home, card, training.network.state_dict())
    bookmark.delete()
    return checkpoint
