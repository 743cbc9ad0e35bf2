"""The word autoencoder: a word of any length to one code and back.

An LSTM reads the code vectors of the mel autoencoder; its last state becomes the word's code. A
linear layer predicts the length from the code, and a second LSTM, fed the code and the relative
position at every step, writes the code vectors (AELA0, section "word autoencoder").
"""

import numpy as np
import torch
from torch import Tensor, nn

from aela.learning import checkpoints
from aela.learning.checkpoints import Card, Checkpoint
from aela.learning.loop import Report, run, silent
from aela.memory.manifest import Manifest
from aela.speech.mel_autoencoder import (
    STRIDE,
    MelAutoencoder,
    held_out_words,
    load_mel_autoencoder,
    masked_error,
)
from aela.speech.schedule import optimizer, set_rate
from aela.speech.settings import WordAutoencoderSettings
from aela.speech.words import remembered_words
from aela.storage import Home

MODEL = "word_autoencoder"
LAYERS = 2  # of each LSTM
WAVES = 4  # sines and cosines that tell the decoder where in the word it is
LEAST_SPREAD = 1e-3  # of code vectors and lengths, when all words are alike
LONGEST_FRAMES = 2000  # 20 s: no code makes a longer word
GRADIENT_NORM = 1.0


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
        states, _ = self.reader(normal)
        return torch.tanh(self.to_code(states[torch.arange(len(states)), steps - 1]))

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
    """Train on the manifest's words as `mel` codes them; go on from `parent` if given.

    Raises:
        EmptyMemory: the manifest holds fewer than two words.
        UnknownCheckpoint: the home does not hold the mel autoencoder.
    """
    words = remembered_words(home, manifest)
    mel_network = load_mel_autoencoder(home, mel.sha, device)
    vectors = code_vectors(mel_network, [word.features for word in words], device)
    frames = torch.tensor([len(word.features) for word in words], device=device)
    steps = torch.tensor([len(v) for v in vectors], device=device)
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = WordAutoencoder(settings, vectors[0].shape[1])
    if parent:
        network.load_state_dict(checkpoints.weights(home, MODEL, parent.sha))
    network.to(device)
    network.fit_scale(torch.cat(vectors), frames)
    normal = nn.utils.rnn.pad_sequence([network.normalise(v) for v in vectors], True)
    lengths = (frames.float().log() - network.length_mean) / network.length_spread
    optimise = optimizer(network, settings.learning_rate, settings.weight_decay)
    seen, held_out = held_out_words(len(words), rng)

    def step(index: int, spent: float) -> dict[str, float]:
        set_rate(optimise, settings.learning_rate, index, spent)
        picked = torch.from_numpy(rng.choice(seen, settings.batch)).to(device)
        truth = normal[picked, : int(steps[picked].max())]
        codes = network.encode(truth, steps[picked])
        noisy = codes + settings.code_noise * torch.randn_like(codes)
        written = network.decode(noisy, frames[picked], truth.shape[1])
        reconstruction = masked_error(written, truth, steps[picked])
        length = (network.log_length(noisy) - lengths[picked]).square().mean()
        loss = reconstruction + settings.length_weight * length
        optimise.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT_NORM)
        optimise.step()
        return {"reconstruction": reconstruction.item(), "length": length.item()}

    history = run(MODEL, step, settings.budget, settings.batch, report)
    metrics = history.metrics()
    for name, numbers in (("seen", seen), ("held_out", held_out)):
        if len(numbers):
            chosen = torch.from_numpy(numbers).to(device)
            with torch.inference_mode():
                codes = network.encode(normal[chosen], steps[chosen])
                written = network.decode(codes, frames[chosen], normal.shape[1])
                off = (network.frames(codes) / frames[chosen] - 1).abs()
                error = masked_error(written, normal[chosen], steps[chosen])
            metrics[f"{name}_reconstruction"] = error.item()
            metrics[f"{name}_length_error"] = off.median().item()
    card = Card(
        MODEL,
        checkpoints.settings_dict(settings),
        seed,
        manifest.sha,
        parent.sha if parent else None,
        {"mel_autoencoder": mel.sha},
        metrics,
        [{"step": r.step, **r.losses} for r in history.reports],
    )
    return checkpoints.save(home, card, network.state_dict())
