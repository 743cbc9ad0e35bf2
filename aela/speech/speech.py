"""Both autoencoders as one: clips to codes, and codes to sound."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from aela.learning import checkpoints
from aela.speech.mel import log_mel
from aela.speech.mel_autoencoder import MelAutoencoder, load_mel_autoencoder
from aela.speech.settings import WordAutoencoderSettings
from aela.speech.voice import to_sound
from aela.speech.word_autoencoder import MODEL, WordAutoencoder, code_vectors
from aela.speech.words import features_of
from aela.storage import Home

WORDS_AT_ONCE = 64  # so that what is padded to the longest of them stays small


@dataclass(frozen=True)
class Speech:
    """A word autoencoder with the mel autoencoder it was trained on."""

    network: WordAutoencoder
    mel_network: MelAutoencoder
    device: str

    def embed(self, clips: pa.Table | list[np.ndarray]) -> np.ndarray:
        """Codes of words.

        Args:
            clips: rows of memory's clips (`flac`, `start_s`, `end_s`, `word_start_s`), or words as
                float32 mono samples [n] at 44.1 kHz: just the word; zeros around it are ignored.

        Returns:
            float32 [words, code], each value between -1 and 1.
        """
        features = self.mel(clips)
        if not features:
            return np.zeros((0, self.network.to_code.out_features), np.float32)
        return self.encode_mel(features)

    def mel(self, clips: pa.Table | list[np.ndarray]) -> list[np.ndarray]:
        """Log-mel features of words, each float32 [frames, 128], a frame per 10 ms."""
        if isinstance(clips, pa.Table):
            return features_of(clips)
        return [log_mel(samples) for samples in clips]

    def encode_mel(self, features: list[np.ndarray]) -> np.ndarray:
        """Codes, float32 [words, code], of words as `mel` gives them."""
        parts = (
            self._encode(features[start : start + WORDS_AT_ONCE])
            for start in range(0, len(features), WORDS_AT_ONCE)
        )
        return np.concatenate(list(parts))

    @torch.inference_mode()
    def _encode(self, features: list[np.ndarray]) -> np.ndarray:
        normal = [
            self.network.normalise(vectors)
            for vectors in code_vectors(self.mel_network, features, self.device)
        ]
        steps = torch.tensor([len(vectors) for vectors in normal], device=self.device)
        padded = torch.nn.utils.rnn.pad_sequence(normal, True)
        return self.network.encode(padded, steps).cpu().numpy()

    def decode_mel(self, codes: np.ndarray) -> list[np.ndarray]:
        """Log-mel features, each float32 [frames, 128], of codes [words, code]."""
        features = []
        with torch.inference_mode():
            for code in torch.from_numpy(np.asarray(codes, np.float32)).to(self.device)[:, None]:
                frames = self.network.frames(code)
                steps = self.mel_network.steps(int(frames))
                normal = self.network.decode(code, frames, steps)
                vectors = normal * self.network.spread + self.network.mean
                features.append(self.mel_network.decode(vectors)[0, : int(frames)].cpu().numpy())
        return features

    def speak(self, codes: np.ndarray) -> list[np.ndarray]:
        """Codes [words, code] as sound: float32 mono [n] at 44.1 kHz, below full scale.

        All come out equally loud and as long as their code says. The same code always gives the
        same sound.
        """
        return [to_sound(features) for features in self.decode_mel(codes)]


def load_speech(home: Home, word_sha: str, device: str = "cpu") -> Speech:
    """The word autoencoder of that name and the mel autoencoder that its card names.

    Raises:
        UnknownCheckpoint: the home does not hold one of them.
    """
    card = checkpoints.read(home, MODEL, word_sha).card
    mel_network = load_mel_autoencoder(home, card.inputs["mel_autoencoder"], device)
    settings = checkpoints.settings_from(WordAutoencoderSettings, card)
    network = WordAutoencoder(settings, mel_network.settings.code)
    network.load_state_dict(checkpoints.weights(home, MODEL, word_sha))
    return Speech(network.eval().requires_grad_(False).to(device), mel_network, device)
