"""Generations of known skill: real embeddings and associators, made up without training."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from upath import UPath

from aela.association.associator import Associator
from aela.association.pairs import make_pairs
from aela.association.settings import QUICK
from aela.capture import Clip, Frame
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import Card, Checkpoint
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.mimicry.generation import Generation
from aela.storage import Home

THINGS, IMAGE, WORD = 10, 16, 8
GREY, SILENCE = np.zeros((2, 8, 8, 3), np.uint8), np.zeros(4_410, np.float32)
CARD_SETTINGS = checkpoints.settings_dict(replace(QUICK, layers=2, width=64))


@dataclass(frozen=True)
class Taught:
    """A home in which each video names a thing, and what its pictures and words are alike.

    Those of one video differ a little from those of another with the same thing.
    """

    home: Home
    videos: list[str]
    pictures: np.ndarray
    words: np.ndarray

    def thing(self, video: str) -> int:
        return self.videos.index(video) % THINGS

    def of(self, video: str) -> tuple[np.ndarray, np.ndarray]:
        """What the pictures [IMAGE] and words [WORD] of one video are like."""
        thing, rng = self.thing(video), np.random.default_rng(self.videos.index(video))
        picture = self.pictures[thing] + 0.1 * rng.normal(size=IMAGE)
        return picture, self.words[thing] + 0.2 * rng.normal(size=WORD)

    def generation(
        self,
        right: float = 1.0,
        *,
        hears: Callable[[np.ndarray], np.ndarray] = lambda words: words,
        map_words: Callable[[np.ndarray], np.ndarray] = lambda words: words,
        by_heart: bool = False,
        seed: int = 0,
    ) -> Generation:
        """A generation that knows the words of a share of the things, and mixes up the others.

        Args:
            hears: what its word autoencoder makes of words [n, WORD]; map_words: of that, what its
                associator predicts; by_heart: it predicts the words of each single video.
        """
        rng = np.random.default_rng(seed)
        manifest = manifests.take(self.home)
        known = np.arange(THINGS)
        wrong = known[: round(THINGS * (1 - right))]
        known[wrong] = np.roll(wrong, 1)
        cards = (Card(model, {}, seed, manifest.sha) for model in ("image_encoder", "mel"))
        sight, mel = (
            self._saved(replace(c, model=m))
            for c, m in zip(cards, ("image_encoder", "mel_autoencoder"), strict=True)
        )
        hearing = self._saved(
            Card("word_autoencoder", {}, seed, manifest.sha, inputs={"mel_autoencoder": mel.sha})
        )
        heard = []
        for entry in manifest.entries:
            picture, word = self.of(entry.video)
            images = embeddings.unit(picture + 0.03 * rng.normal(size=(entry.frames, IMAGE)))
            words = hears(word + 0.1 * rng.normal(size=(entry.clips, WORD)))
            of = (self.home, sight.sha, entry.video, entry.content)
            embeddings.write(*of, images)
            embeddings.write(*of, images[:1], "ground")
            embeddings.write(self.home, hearing.sha, entry.video, entry.content, words)
            heard.append(words)
        pairs = make_pairs(self.home, manifest, sight, hearing, 1.0)
        pictures, words = self.pictures, self.words[known]
        if by_heart:
            of = [self.of(entry.video) for entry in manifest.entries]
            pictures, words = (np.stack(values) for values in zip(*of, strict=True))
        taught = map_words(hears(words))
        associator = self._saved(
            Card(
                "associator",
                CARD_SETTINGS,
                seed,
                manifest.sha,
                inputs={
                    "image_encoder": sight.sha,
                    "word_autoencoder": hearing.sha,
                    "pairs": pairs,
                },
            ),
            _linear(embeddings.unit(pictures), taught, np.concatenate(heard)).state_dict(),
        )
        return Generation(sight.sha, mel.sha, hearing.sha, associator.sha, pairs, manifest.sha, 0.5)

    def _saved(self, card: Card, tensors: dict[str, torch.Tensor] | None = None) -> Checkpoint:
        return checkpoints.save(self.home, card, tensors or {"w": torch.ones(1)})


def _linear(pictures: np.ndarray, words: np.ndarray, heard: np.ndarray) -> Associator:
    """An associator with its last layer solved so that these pictures bring these words to mind."""
    torch.manual_seed(0)
    model = Associator(IMAGE, WORD, 2, 64, 0.2).eval()
    model.fit_scales(torch.from_numpy(pictures).float(), torch.from_numpy(heard).float())
    with torch.no_grad():
        inner = model.mlp[:-1](model.standard_images(torch.from_numpy(pictures).float()))
        wanted = model.standard_words(torch.from_numpy(words).float())
        last = model.mlp[-1]
        assert isinstance(last, torch.nn.Linear)
        last.weight.copy_((torch.linalg.pinv(inner) @ wanted).T)
        last.bias.zero_()
    return model


def remember(home: Home, name: str, namings: int = 4, frames: int = 8) -> str:
    file = UPath(home.root / "outside" / f"{name}.bin")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(name.encode())
    video = videos.take_in(home, file, "learn", move=False)
    seen = [Frame(float(t), b"jpeg", 8, 8, 1.0, GREY) for t in range(frames)]
    clips = [Clip(2.0 * t, 2 * t + 0.5, SILENCE, 0.0, -20, 20) for t in range(namings)]
    store.remember(home, video, [*seen, *clips])
    return video.video


def teach(home: Home, rooms: int = 3) -> Taught:
    """Each thing is named in as many videos as there are rooms, four times in each."""
    rng = np.random.default_rng(7)
    names = [
        remember(home, f"thing{thing}-{room}") for room in range(rooms) for thing in range(THINGS)
    ]
    pictures = embeddings.unit(rng.normal(size=(THINGS, IMAGE)))
    return Taught(home, names, pictures, rng.normal(size=(THINGS, WORD)) + 3)
