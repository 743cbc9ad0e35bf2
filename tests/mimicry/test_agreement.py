"""A generation agrees with memory as far as it thinks of the words that were heard with things."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
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
from aela.memory.forget import forget
from aela.mimicry import agreement as agreeing
from aela.mimicry.agreement import Agreement, agreement, compare
from aela.mimicry.gate import judge
from aela.mimicry.generation import Generation
from aela.storage import Home

THINGS, IMAGE, WORD = 10, 16, 8
GREY, SILENCE = np.zeros((2, 8, 8, 3), np.uint8), np.zeros(4_410, np.float32)
CARD_SETTINGS = checkpoints.settings_dict(replace(QUICK, layers=2, width=64))


@dataclass(frozen=True)
class Taught:
    """A home in which each video names a thing, and what its pictures and words are alike."""

    home: Home
    videos: list[str]
    pictures: np.ndarray
    words: np.ndarray

    def generation(
        self,
        right: float = 1.0,
        *,
        hears: Callable[[np.ndarray], np.ndarray] = lambda words: words,
        map_words: Callable[[np.ndarray], np.ndarray] = lambda words: words,
        seed: int = 0,
    ) -> Generation:
        """A generation that knows the words of a share of the things, and mixes up the others.

        Args:
            hears: what its word autoencoder makes of words [n, WORD]; map_words: of that, what its
                associator predicts.
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
            thing = self.videos.index(entry.video) % THINGS
            noise = 0.1 * rng.normal(size=(entry.frames, IMAGE))
            images = embeddings.unit(self.pictures[thing] + noise)
            words = hears(self.words[thing] + 0.1 * rng.normal(size=(entry.clips, WORD)))
            of = (self.home, sight.sha, entry.video, entry.content)
            embeddings.write(*of, images)
            embeddings.write(*of, images[:1], "ground")
            embeddings.write(self.home, hearing.sha, entry.video, entry.content, words)
            heard.append(words)
        pairs = make_pairs(self.home, manifest, sight, hearing, 1.0)
        taught = map_words(hears(self.words[known]))
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
            _linear(self.pictures, taught, np.concatenate(heard)).state_dict(),
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


def remember(home: Home, name: str, namings: int = 4) -> str:
    file = UPath(home.root / "outside" / f"{name}.bin")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(name.encode())
    video = videos.take_in(home, file, "learn", move=False)
    frames = [Frame(float(t), b"jpeg", 8, 8, 1.0, GREY) for t in range(2 * namings)]
    clips = [Clip(2.0 * t, 2 * t + 0.5, SILENCE, 0.0, -20, 20) for t in range(namings)]
    store.remember(home, video, [*frames, *clips])
    return video.video


@pytest.fixture
def taught(home: Home) -> Taught:
    rng = np.random.default_rng(7)
    names = [remember(home, f"thing{thing}-{room}") for room in range(3) for thing in range(THINGS)]
    pictures = embeddings.unit(rng.normal(size=(THINGS, IMAGE)))
    return Taught(home, names, pictures, rng.normal(size=(THINGS, WORD)) + 3)


def share(taught: Taught, generation: Generation) -> float:
    found = agreement(taught.home, generation)
    assert found is not None
    return found[0].share


def test_who_knows_the_words_agrees_with_memory(taught: Taught):
    # Of the others, two in 29 videos say the same word, which is told apart by chance alone.
    assert share(taught, taught.generation()) == pytest.approx(1 - 1 / 29, abs=0.02)
    assert 0.55 < share(taught, taught.generation(right=0.5)) < 0.85


@pytest.mark.parametrize(
    ("what", "made"),
    [
        ("things and words mixed up", {"right": 0.0}),
        ("all predictions alike", {"map_words": lambda w: np.tile(w[:1], (len(w), 1))}),
        ("all words alike", {"hears": lambda w: np.ones_like(w)}),
        ("all words nearly alike", {"hears": lambda w: np.ones_like(w) + 1e-12 * w}),
        ("nothing but nan", {"map_words": lambda w: np.full_like(w, np.nan)}),
    ],
)
def test_who_does_not_is_no_better_than_chance(taught: Taught, what: str, made: dict):
    assert share(taught, taught.generation(**made)) < 0.55, what


def test_spaces_that_differ_are_compared(taught: Taught):
    turned, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(WORD, WORD)))
    old = taught.generation()
    new = taught.generation(hears=lambda words: 100 * words @ turned, seed=1)
    found = compare(taught.home, old, new)
    assert found and found.holds
    assert found.new.share == pytest.approx(found.old.share, abs=0.02)


def test_a_space_that_tells_only_two_kinds_of_words_loses(taught: Taught):
    def two(words: np.ndarray) -> np.ndarray:
        return np.where(words[:, :1] > np.median(taught.words[:, 0]), 1.0, -1.0) * np.ones(WORD)

    found = compare(taught.home, taught.generation(), taught.generation(hears=two, seed=1))
    assert found and not found.holds and found.new.share < 0.8


def test_only_what_both_learned_from_is_compared(taught: Taught):
    old = taught.generation()
    taught.videos.append(remember(taught.home, "new"))
    new = taught.generation(seed=1)
    found = compare(taught.home, old, new)
    assert found and found.moments == 4 * 30 and taught.videos[-1] not in found.new.videos
    for video in taught.videos[:30]:
        forget(taught.home, video)
    assert compare(taught.home, old, new) is None
    verdict = judge(taught.home, old, new)
    assert verdict.passed and "Nothing is left" in verdict.reason


def test_the_gate_lets_an_equal_one_pass_and_refuses_one_that_forgot(taught: Taught):
    old = taught.generation()
    assert judge(taught.home, None, old).passed
    assert judge(taught.home, old, old).reason == "It speaks already."
    equal = judge(taught.home, old, taught.generation(seed=1))
    assert equal.passed and equal.figures and equal.comparison
    assert abs(equal.figures.agreement - (equal.figures.before or 0)) < equal.comparison.tolerance
    worse = judge(taught.home, old, taught.generation(right=0.7, seed=2))
    assert not worse.passed and worse.comparison
    assert taught.videos.index(worse.comparison.worst) % THINGS < 3
    better = judge(taught.home, taught.generation(right=0.7, seed=2), old)
    assert better.passed


def test_what_learned_from_something_forgotten_does_not_go_on_speaking(taught: Taught):
    old = taught.generation()
    forget(taught.home, taught.videos[0])
    verdict = judge(taught.home, old, taught.generation(right=0.0, seed=1))
    assert verdict.passed and f"{taught.videos[0]} was forgotten" in verdict.reason


def test_without_another_word_nothing_is_measured(home: Home):
    only = Taught(home, [remember(home, "cup", 1)], np.ones((THINGS, IMAGE)), np.ones((THINGS, 8)))
    generation = only.generation()
    assert agreement(home, generation) is None
    assert judge(home, None, generation).passed


def test_of_much_memory_a_sample_is_compared(taught: Taught, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(agreeing, "MOST_VIDEOS", 20)
    monkeypatch.setattr(agreeing, "MOST_MOMENTS", 40)
    found = compare(taught.home, taught.generation(), taught.generation(right=0.0, seed=1))
    assert found and found.moments == 40 and len(found.new.videos) == 20 and not found.holds


def test_agreement_is_told_by_video(taught: Taught):
    found = agreement(taught.home, taught.generation(right=0.7))
    assert found
    told: Agreement = found[0]
    low = {video for video, value in told.videos.items() if value < 0.8}
    assert {taught.videos.index(video) % THINGS for video in low} <= {0, 1, 2} and low
