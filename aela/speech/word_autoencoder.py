"""The word autoencoder: a word of any length to one code and back.

An LSTM reads the code vectors of the mel autoencoder; its last state becomes the word's code. A
linear layer predicts the length from the code, and a second LSTM, fed the code and the relative
position at every step, writes the code vectors (AELA0, section "word autoencoder").
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from aela.learning import checkpoints, embeddings
from aela.learning.bookmark import Bookmark
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
    directions = nn.functional.normalize(codes, dim=1)
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
    entries = list(dict.fromkeys(entry for entry, _ in learned.places))
    of = dict(zip(entries, embeddings.find(home, parent.sha, entries, "clip"), strict=True))
    for number, (entry, clip) in enumerate(learned.places, start=learned.new):
        if (known := of[entry]) is not None:
            codes[number] = torch.from_numpy(known[clip])
    return codes


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
    learned = lesson(home, manifest, parent, settings.replayed, rng)
    words = learned.words
    mel_network = load_mel_autoencoder(home, mel.sha, device)
    torch.manual_seed(seed)
    features = [word.features for word in words]
    frames = torch.tensor([len(word) for word in features], device=device)
    steps = torch.tensor([mel_network.steps(len(word)) for word in features], device=device)
    voices = [code_vectors(mel_network, features, device)]  # voices[0] is the word's own
    for _ in range(min(settings.other_voices, MOST_COPIES // len(words))):
        changed = [another_voice(word, rng) for word in features]
        voices.append(code_vectors(mel_network, changed, device))
    network = WordAutoencoder(settings, mel_network.settings.code)
    if parent:
        network.load_state_dict(checkpoints.weights(home, MODEL, parent.sha))
    network.to(device)
    network.fit_scale(torch.cat(voices[0]), frames)
    lengths = network.normal_length(frames)
    before = _codes_before(home, parent, learned, settings.code).to(device)
    alike = torch.eye(len(words), device=device)
    if settings.likeness_weight:
        alike = torch.from_numpy(likeness(words, rng)).to(device)
    optimise = optimizer(network, settings.learning_rate, settings.weight_decay)

    def batch(picked: Tensor, chosen: np.ndarray) -> Tensor:
        """The picked words, each in its chosen voice: normalised [batch, most steps, vector]."""
        vectors = [voices[v][i] for v, i in zip(chosen, picked.tolist(), strict=True)]
        return network.normalise(nn.utils.rnn.pad_sequence(vectors, True))

    @torch.no_grad()
    def measure(numbers: np.ndarray, name: str) -> dict[str, float]:
        picked = torch.from_numpy(numbers).to(device)
        truth = batch(picked, np.zeros(len(picked), int))
        codes = network.encode(truth, steps[picked])
        written = network.decode(codes, frames[picked], truth.shape[1])
        off = (network.frames(codes) / frames[picked] - 1).abs()
        return {
            f"{name}_reconstruction": masked_error(written, truth, steps[picked]).item(),
            f"{name}_length_error": off.median().item(),
        }

    trial = Trial(learned.chances, rng, measure)

    def step(index: int, spent: float) -> dict[str, float]:
        set_rate(optimise, settings.learning_rate, index, spent)
        picked = torch.from_numpy(trial.draw(spent, settings.batch)).to(device)
        if settings.likeness_weight:
            picked = _with_likenesses(picked, alike, trial.held_out)
        truth = batch(picked, np.zeros(settings.batch, int))
        codes = network.encode(
            batch(picked, _voices(len(voices), settings.batch, rng)), steps[picked]
        )
        noisy = codes + settings.code_noise * torch.randn_like(codes)
        written = network.decode(noisy, frames[picked], truth.shape[1])
        losses = {
            "reconstruction": masked_error(written, truth, steps[picked]),
            "length": (network.log_length(noisy) - lengths[picked]).square().mean(),
        }
        weights = {"reconstruction": 1.0, "length": settings.length_weight}
        if settings.likeness_weight:
            losses["likeness"] = likeness_error(codes, picked, alike)
            weights["likeness"] = settings.likeness_weight * min(1.0, spent / LIKENESS_RAMP)
        if settings.cycle_weight:
            again = network.encode(written, steps[picked])
            losses["cycle"] = (again - noisy.detach().clamp(-1, 1)).square().mean()
            weights["cycle"] = settings.cycle_weight
        old = before[picked].any(dim=1)
        if settings.kept and old.any():
            moved = codes[old] - before[picked[old]]
            losses["moved"] = moved.square().mean()
            weights["moved"] = settings.kept
        optimise.zero_grad()
        torch.stack([weights[name] * loss for name, loss in losses.items()]).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimise.step()
        return {name: loss.item() for name, loss in losses.items()}

    card = Card(
        MODEL,
        checkpoints.settings_dict(settings),
        seed,
        manifest.sha,
        parent.sha if parent else None,
        {"mel_autoencoder": mel.sha},
    )
    bookmark = Bookmark(home, card, device)
    bookmark.hold(network=network, optimizer=optimise, random=rng, trial=trial)
    budget = settings.budget.of(learned.new)
    history = run(MODEL, step, budget, settings.batch, report, bookmark)
    some = rng.permutation(len(words))[:MOST_MEASURED]
    metrics = {**history.metrics(), **trial.figures, **measure(some, "seen")}
    card = replace(card, metrics=metrics, curve=history.points())
    checkpoint = checkpoints.save(home, card, network.state_dict())
    bookmark.delete()
    return checkpoint
