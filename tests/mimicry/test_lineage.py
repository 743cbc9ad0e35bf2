"""Lineage both ways, over random histories and over a told one."""

import io
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from upath import UPath

from aela.capture import Clip, Frame
from aela.learning import checkpoints
from aela.learning.checkpoints import IMAGE_DECODER, TRAINED, Card, Checkpoint
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.forget import forget
from aela.mimicry import generation as generations
from aela.mimicry import lineage, predict
from aela.mimicry.generation import Generation
from aela.mimicry.lineage import Moment
from aela.mimicry.trace import UnknownPrediction, trace
from aela.storage import Home, read_parquet, write_bytes
from aela_dagster.watch import unwatched

Life = Any  # the home that the fixture `life` makes
Part = tuple[str, str]  # a video and its content
BELOW = {
    "word_autoencoder": ("mel_autoencoder",),
    "associator": ("image_encoder", "word_autoencoder"),
    IMAGE_DECODER: ("image_encoder",),
}
VIEWS = np.zeros((2, 4, 4, 3), np.uint8)
TONE = np.zeros(4_410, np.float32)


def _jpeg(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


PICTURES = [_jpeg(colour) for colour in range(0, 250, 10)]


@dataclass
class History:
    """What happens to a home, and beside it what each thing has learned from, as it is made."""

    home: Home
    random: Random
    rows: dict[Part, tuple[int, int]] = field(default_factory=dict)  # frames and clips
    remembered: dict[str, str] = field(default_factory=dict)  # contents
    models: dict[str, list[Checkpoint]] = field(default_factory=lambda: {m: [] for m in TRAINED})
    held: dict[str, set[Part]] = field(default_factory=dict)  # by manifest
    learned: dict[str, set[Part]] = field(default_factory=dict)  # by checkpoint and generation
    spoke: list[Generation] = field(default_factory=list)
    # By generation and video: the content looked at, and the parts that each row leans on.
    said: dict[tuple[str, str], tuple[str, list[set[Part]]]] = field(default_factory=dict)
    number: int = 0

    def ingest(self) -> None:
        self.number += 1
        source = UPath(self.home.root / f"v{self.number}.mp4")
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(f"video {self.number}".encode())
        self._remember(videos.take_in(self.home, source, "learn", move=True).video)

    def capture_anew(self) -> None:
        if self.remembered:
            self._remember(self.random.choice(sorted(self.remembered)))

    def _remember(self, video: str) -> None:
        frames, clips = self.random.randint(1, 3), self.random.randint(0, 2)
        pictures = self.random.sample(PICTURES, frames)
        senses: list[Frame | Clip] = [
            Frame(float(row), jpeg, 8, 8, 1.0, VIEWS) for row, jpeg in enumerate(pictures)
        ]
        senses += [Clip(row + 0.1, row + 0.5, TONE, 0.0, -20, 20) for row in range(clips)]
        entry = store.remember(self.home, videos.find(self.home, video), senses)
        self.remembered[video] = entry.content
        self.rows[video, entry.content] = (frames, clips)

    def forget(self) -> None:
        if len(self.remembered) > 1:
            video = self.random.choice(sorted(self.remembered))
            forget(self.home, video)
            del self.remembered[video]
            self.said = {key: said for key, said in self.said.items() if key[1] != video}

    def train(self) -> None:
        if not self.remembered:
            return
        manifest = manifests.take(self.home)
        self.held[manifest.sha] = {(e.video, e.content) for e in manifest.entries}
        for model in self.random.sample(TRAINED, self.random.randint(1, len(TRAINED))):
            below = {name: self.models[name] for name in BELOW.get(model, ())}
            if not all(below.values()):
                continue
            inputs = {name: self.random.choice(made) for name, made in below.items()}
            parents = [None, *self.models[model]] if model != IMAGE_DECODER else [None]
            parent = self.random.choice(parents)
            self.number += 1
            card = Card(
                model,
                {},
                self.number,
                manifest.sha,
                parent.sha if parent else None,
                {name: one.sha for name, one in inputs.items()} | {"pairs": "p"},
            )
            made = checkpoints.save(self.home, card, {"w": torch.ones(1)})
            self.models[model].append(made)
            self.learned[made.sha] = self.held[manifest.sha].union(
                *(
                    self.learned[one.sha]
                    for one in [*inputs.values(), *([parent] if parent else [])]
                )
            )

    def publish(self) -> None:
        if not self.models["associator"]:
            return
        associator = self.random.choice(self.models["associator"])
        inputs = associator.card.inputs
        words = checkpoints.read(self.home, "word_autoencoder", inputs["word_autoencoder"])
        before = generations.current(self.home)
        new = Generation(
            inputs["image_encoder"],
            words.card.inputs["mel_autoencoder"],
            words.sha,
            associator.sha,
            "p",
            associator.card.manifest,
            0.5,
            before.sha if before else None,
        )
        generations.publish(self.home, new)
        if all(new.sha != old.sha for old in self.spoke):
            self.spoke.append(new)
            made_of = (new.image_encoder, new.mel_autoencoder, new.word_autoencoder, new.associator)
            self.learned[new.sha] = set().union(*(self.learned[sha] for sha in made_of))

    def watch(self) -> None:
        """Predictions of a generation that may not be the one that speaks any more."""
        if not self.spoke or not self.remembered:
            return
        by, video = self.random.choice(self.spoke), self.random.choice(sorted(self.remembered))
        there = sorted(part for part in self.held[by.manifest] if part[0] in self.remembered)
        if not there:
            return
        rows, leaning = [], []
        for second in range(self.random.randint(1, 3)):
            clip, *frames = (self.random.choice(there) for _ in range(3))
            leaning.append({clip, *frames})
            near = [{"video": part[0], "time_s": 0.0, "similarity": 0.9} for part in frames]
            rows.append(_row(by, float(second), clip[0], near))
        content = self.remembered[video]
        table = pa.Table.from_pylist(rows, schema=predict.PREDICTIONS)
        table = table.replace_schema_metadata({"video": video, "content": content})
        predict.write(table, self.home.predictions(video, by.sha))
        self.said[by.sha, video] = content, leaning


def _row(by: Generation, time_s: float, clip_video: str, frames: list[dict]) -> dict[str, Any]:
    return {
        "time_s": time_s,
        "said": False,
        "confidence": 0.5,
        "novelty": 0.9,
        "sound": None,
        "clip_video": clip_video,
        "clip_start_s": 0.1,
        "clip_end_s": 0.5,
        "frames": frames,
        "generation": by.sha,
        "image_encoder": by.image_encoder,
        "mel_autoencoder": by.mel_autoencoder,
        "word_autoencoder": by.word_autoencoder,
        "associator": by.associator,
        "manifest": by.manifest,
    }


STEPS = st.sampled_from(["ingest", "train", "publish", "watch", "capture_anew", "forget"])


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=4, max_size=14), st.integers(0, 10**6))
def test_both_ways_agree_over_random_histories(steps: list[str], seed: int):
    with tempfile.TemporaryDirectory() as folder:
        history = History(Home.at(folder), Random(seed))
        for step in ["ingest", "train", *steps, "train", "publish", "watch"]:
            getattr(history, step)()
        _check_back(history)
        _check_forth(history)


def _check_back(history: History) -> None:
    """From generations, checkpoints and predictions to the moments that they learned from."""
    home = history.home
    for model, made in history.models.items():
        for checkpoint in made:
            found = lineage.origins(home, [(model, checkpoint.sha)])
            assert {(e.video, e.content) for e in found.entries} == history.learned[checkpoint.sha]
            assert not found.missing
    for generation in history.spoke:
        found = lineage.origins_of(home, generation)
        learned = history.learned[generation.sha]
        assert Counter(found.moments()) == Counter(
            Moment(video, content, sense, row)
            for video, content in learned
            for sense, rows in zip(("frame", "clip"), history.rows[video, content], strict=True)
            for row in range(rows)
        )
        for video, content in learned:
            assert generation.sha in lineage.dependents(home, video, content).generations
            assert found.saw(video)
    for (generation, video), (_, leaning) in history.said.items():
        rows = predict.read_predictions(home, video, generation).to_pylist()
        assert {row["generation"] for row in rows} == {generation}
        assert all(parts <= history.learned[generation] for parts in leaning)


def _check_forth(history: History) -> None:
    """From each video, under each content it ever had, to all that depends on it."""
    home = history.home
    for video in {video for video, _ in history.rows}:
        contents = {content for v, content in history.rows if v == video}
        held = {c for parts in history.held.values() for v, c in parts if v == video}
        assert set(lineage.contents(home, video)) == held
        _check_dependents(history, video, None, {(video, content) for content in contents})
        for content in contents:
            _check_dependents(history, video, content, {(video, content)})


def _check_dependents(history: History, video: str, content: str | None, parts: set[Part]) -> None:
    found = lineage.dependents(history.home, video, content)
    assert set(found.manifests) == {sha for sha, held in history.held.items() if held & parts}
    models = [one for made in history.models.values() for one in made]
    learned = {one.sha for one in models if history.learned[one.sha] & parts}
    trained = {one.sha for one in models if one.card.manifest in found.manifests}
    assert found.trained.keys() == trained
    assert found.descending.keys() == learned - trained
    spoke = {one.sha for one in history.spoke if history.learned[one.sha] & parts}
    assert set(found.generations) == spoke
    said = {key: rows for key, (_, rows) in history.said.items() if key[0] in spoke}
    assert {
        (sha, of): count for sha, made in found.predictions.items() for of, count in made.items()
    } == {key: len(rows) for key, rows in said.items()}
    leaning = {key: sum(bool(row & parts) for row in rows) for key, rows in said.items()}
    assert {
        (sha, of): count for sha, made in found.leaning.items() for of, count in made.items()
    } == {key: count for key, count in leaning.items() if count}
    own = {
        sha: len(rows)
        for (sha, of), (looked_at, rows) in history.said.items()
        if of == video and content in (None, looked_at)
    }
    assert found.of_it == own


def test_a_parent_s_memory_is_behind_a_prediction_too(life: Life):
    home, first = life.home, life.generation
    forget(home, life.cup)
    manifest = manifests.take(home)
    card = Card("image_encoder", {}, 1, manifest.sha, parent=first.image_encoder)
    child = checkpoints.save(home, card, {"w": torch.ones(1)})
    made = {
        name: getattr(first, name) for name in ("mel_autoencoder", "word_autoencoder", "associator")
    }
    new = Generation(child.sha, **made, pairs="p", manifest=manifest.sha, threshold=0.5)
    found = lineage.origins_of(home, new)
    assert [one.sha for one in found.line(child)] == [child.sha, first.image_encoder]
    [gone] = [entry for entry in found.entries if entry.video == life.cup]
    assert manifests.state(home, gone) == "forgotten"
    assert child.sha in lineage.dependents(home, life.cup).descending
    assert child.sha in lineage.dependents(home, life.pen).trained


def test_what_is_gone_from_the_way_back_is_named(life: Life):
    generation = life.generation
    (life.home.models("mel_autoencoder") / f"{generation.mel_autoencoder}.json").unlink()
    found = lineage.origins_of(life.home, generation)
    assert found.missing == (f"mel_autoencoder {generation.mel_autoencoder}",)
    assert {entry.video for entry in found.entries} == {life.cup, life.pen}


def test_a_time_at_which_nothing_was_looked_at_is_refused(life: Life):
    with pytest.raises(UnknownPrediction, match=r"was looked at from .* s to .* s"):
        trace(life.home, f"{life.watched}@500")


def test_a_generation_published_meanwhile_does_not_mix_into_a_trace(life: Life):
    before = trace(life.home, f"{life.watched}@0")
    life.remember("key", "learn")
    manifests.set_current(life.home, manifests.take(life.home))
    again = trace(life.home, f"{life.watched}@0")
    assert again.row == before.row and again.generation.sha == life.generation.sha
    new = life.learn()
    assert trace(life.home, f"{life.watched}@0").generation.sha == new.sha
    old = predict.read_predictions(life.home, life.watched, life.generation.sha).to_pylist()
    assert {row["generation"] for row in old} == {life.generation.sha}


def test_the_memory_of_a_long_line_is_walked_once(home: Home, tmp_path: Path):
    history = History(home, Random(0))
    history.ingest()
    manifest, parent = manifests.take(home), None
    for seed in range(60):
        card = Card("mel_autoencoder", {}, seed, manifest.sha, parent)
        parent = checkpoints.save(home, card, {}).sha
    found = lineage.origins(home, [("mel_autoencoder", parent or "")])
    assert len(found.line(found.checkpoints[parent or ""])) == 60
    assert len(found.manifests) == 1


def test_what_was_said_to_rows_that_are_others_now_is_withdrawn(life: Life):
    home, generation = life.home, life.generation
    before = replace(generation, threshold=0.1)
    for one in (before, generation):
        table = read_parquet(home.predictions(life.watched, generation.sha))
        predict.write(table, home.predictions(life.watched, one.sha))
        write_bytes(home.spoken_video(life.watched, one.sha), b"")
        assert unwatched(home, one) == []
    predict.withdraw(home, life.watched)
    assert list(home.all_predictions.glob(f"{life.watched}/**/*")) == []  # nor any sound
    assert unwatched(home, generation) == [life.watched]
    assert unwatched(home, before) == [life.watched]  # which may be gone back to
