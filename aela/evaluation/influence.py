"""Influence, not only likeness: does an answer change when its word's moments are left out?

The nearest remembered moments of a prediction are those most like it, which does not say that it
comes from them. So the associator is trained again without all moments of the recalled word, and
asked again. It may still recall any remembered clip: what is left out is only what it learned from.
Which clips are of one word is told by ear (`aela.speech.likeness`), without labels.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from aela.association.associator import Associator
from aela.association.settings import AssociatorSettings
from aela.association.train import Moments, fit, load_moments, untrained
from aela.memory import manifest as manifests
from aela.memory import store
from aela.mimicry.recall import Mimic
from aela.speech.likeness import MOST_COMPARED, likeness
from aela.speech.words import remembered_words
from aela.storage import Home

SAME_WORD = 0.5  # likeness by ear from which two clips count as one word


@dataclass(frozen=True)
class Influence:
    """What became of one answer.

    Attributes:
        video, time_s: what was looked at. clip: row of the clip that was recalled.
        clips: how many clips of its word were left out; moments: how many pairs went with them.
        changed: whether another word was recalled then. control_changed: whether one was when as
            many clips of other words were left out.
    """

    video: str
    time_s: float
    clip: int
    clips: int
    moments: int
    changed: bool
    control_changed: bool


class LeavingOut:
    """The associator of one generation, trained again and again on parts of what it learned from.

    Args:
        settings: of the associator.
        seed: of all trainings, which are thus the same but for what is left out.

    Raises:
        ChangedMemory: memory no longer holds what the generation learned from.
        ValueError: it learned from more clips than can be compared by ear.
    """

    def __init__(self, home: Home, mimic: Mimic, settings: AssociatorSettings, seed: int) -> None:
        generation = mimic.generation
        manifest = manifests.read(home, generation.manifest)
        self.home, self.mimic, self.settings, self.seed = home, mimic, settings, seed
        self.moments = load_moments(
            home,
            manifest,
            generation.image_encoder,
            generation.word_autoencoder,
            generation.pairs,
            settings,
            seed,
        )
        words = remembered_words(home, manifest)
        if len(words) > MOST_COMPARED:
            raise ValueError(
                f"It learned from {len(words)} clips, of which {MOST_COMPARED} can be compared by "
                "ear; measure one that learned from less."
            )
        self.same = likeness(words, np.random.default_rng(seed)) >= SAME_WORD
        """bool [clips, clips], True where two remembered clips sound like one word."""
        self._trained = cache(self._train)

    def influence(self, video: str, time_s: float) -> Influence | None:
        """What leaving out its word does to the answer to one frame of a video.

        None where no moment would be left to learn from.
        """
        clip = self._answer((), video, time_s)
        word = np.flatnonzero(self.same[clip])
        others = self._others(clip, len(word))
        if not len(self.without(word).pairs) or not len(self.without(others).pairs):
            return None
        gone = len(self.moments.pairs) - len(self.without(word).pairs)
        answers = (self._answer(tuple(out.tolist()), video, time_s) for out in (word, others))
        changed, control = (not bool(self.same[clip, answer]) for answer in answers)
        return Influence(video, time_s, clip, len(word), gone, changed, control)

    def without(self, clips: np.ndarray) -> Moments:
        """What is left to learn from without some clips and the frames they were heard with."""
        moments = self.moments
        hears = torch.ones(len(moments.words), dtype=torch.bool)
        hears[torch.from_numpy(clips)] = False
        sees = torch.ones(len(moments.images), dtype=torch.bool)
        frame, clip = moments.pairs.T
        sees[frame[~hears[clip]]] = False
        kept = sees[frame] & hears[clip]
        rows = torch.stack([(sees.cumsum(0) - 1)[frame], (hears.cumsum(0) - 1)[clip]], dim=1)
        return Moments(
            moments.images[sees],
            moments.words[hears],
            rows[kept],
            moments.weights[kept],
            moments.videos[hears],
            moments.starts_s[hears],
            moments.new,
        )

    def _others(self, clip: int, count: int) -> np.ndarray:
        """As many clips of other words, a word at a time, in an order of chance."""
        random = np.random.default_rng([self.seed, clip])
        chosen: dict[int, None] = {}
        for other in random.permutation(np.flatnonzero(~self.same[clip])):
            alike = np.flatnonzero(self.same[other] & ~self.same[clip])
            chosen |= dict.fromkeys(alike.tolist())
            if len(chosen) >= count:
                break
        return np.array(sorted([*chosen][:count]), dtype=int)

    def _answer(self, left_out: tuple[int, ...], video: str, time_s: float) -> int:
        """The row of the clip that is recalled, by an associator that did not learn from some."""
        mimic = self.mimic
        times = store.read_frames(self.home, video, ["time_s"])["time_s"].to_numpy()
        looks = np.flatnonzero((times >= time_s - mimic.settings.steady_s) & (times <= time_s))
        asked = Mimic(
            mimic.generation,
            mimic.settings,
            mimic.remembering,
            mimic.encoder,
            self._trained(left_out),
            mimic.speech,
            mimic.device,
        )
        frames = store.read_rows(self.home, video, "frame", looks.tolist())
        return int(asked.recall(mimic.encoder.embed(frames), times[looks]).clips[-1])

    def _train(self, left_out: tuple[int, ...]) -> Associator:
        moments = self.without(np.array(left_out, dtype=int))
        torch.manual_seed(self.seed)
        model = untrained(moments, self.settings)
        fit(model, moments, self.settings, device=self.mimic.device)
        return model.eval()
