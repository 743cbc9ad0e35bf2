"""Lineage in Dagster: versions and links that hold with 150 partitions, also of what changed."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import numpy as np
import pytest
from PIL import Image
from upath import UPath

from aela.capture import Clip, Frame
from aela.learning import checkpoints, embeddings
from aela.learning.loop import Budget
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.forget import forget
from aela.memory.videos import Role
from aela.mimicry import generation as generations
from aela.mimicry import lineage, predict
from aela.mimicry.predict import read_predictions
from aela.presets import preset
from aela.storage import Home
from aela.trainers import train_on
from aela_dagster.definitions import defs
from assets import common
from assets.lineage import VERSION_TAG, back

VIDEOS = 150
VIEWS = np.zeros((2, 24, 32, 3), np.uint8)
RANDOM = np.random.default_rng(0)
SETTINGS = preset("quick")
TINY = Budget(steps=2)


def _remember(home: Home, name: str, role: Role = "learn", frames: int = 1, clips: int = 1) -> str:
    source = UPath(home.root / f"{name}.mp4")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(name.encode())
    video = videos.take_in(home, source, role, move=True)
    store.remember(home, video, _senses(frames, clips))
    return video.video


def _senses(frames: int, clips: int = 1) -> Iterator[Frame | Clip]:
    for second in range(frames):
        buffer = io.BytesIO()
        pixels = RANDOM.integers(0, 255, (24, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG")
        yield Frame(float(second), buffer.getvalue(), 32, 24, 1.0, VIEWS)
    for second in range(clips):
        tone = np.sin(np.arange(22_050) * RANDOM.uniform(0.02, 0.1)).astype(np.float32)
        yield Clip(second + 0.1, second + 0.6, tone / 2, 0.0, -20, 20)


def _unit(rows: int, values: int) -> np.ndarray:
    return embeddings.unit(RANDOM.normal(size=(rows, values)))


@dataclass(frozen=True)
class World:
    home: Home
    instance: dg.DagsterInstance
    keys: list[str]
    watched: str

    def make(self, *assets: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            partition_key=partition,
        )
        assert result.success
        return result

    def train(self, model: str, **inputs: str) -> None:
        """As the trainer's process does, with two steps."""
        settings = replace(getattr(SETTINGS, model), budget=TINY)
        if model == "word_autoencoder":
            settings = replace(settings, likeness_weight=0.0, other_voices=0)
        manifest = manifests.current(self.home)
        made = train_on(self.home, model, manifest, settings, inputs, seed=0)
        checkpoints.set_current(self.home, made)
        # Made-up embeddings: of 150 videos, real ones take long.
        for entry in manifest.entries:
            of = (self.home, made.sha, entry.video, entry.content)
            if model == "image_encoder":
                embeddings.write(*of, _unit(entry.frames, settings.embedding))
                embeddings.write(*of, _unit(1, settings.embedding), "ground")
            elif model == "word_autoencoder" and entry.clips:
                embeddings.write(*of, _unit(entry.clips, settings.code))

    def learn(self) -> str:
        """A generation of everything remembered now; returns its hash."""
        self.make("memory")
        self.train("image_encoder")
        self.train("mel_autoencoder")
        self.train("word_autoencoder", mel_autoencoder=self._current("mel_autoencoder"))
        self.make("image_embeddings", "word_embeddings", "pairs")
        of = {name: self._current(name) for name in ("image_encoder", "word_autoencoder")}
        self.train("associator", **of)
        self.make("generation")
        return generations.required(self.home).sha

    def _current(self, model: str) -> str:
        return checkpoints.required(self.home, model).sha

    def latest(self, asset: str) -> tuple[str, dict[str, Any], str]:
        """Data version, metadata and run of the newest materialization."""
        [record] = self.instance.fetch_materializations(dg.AssetKey(asset), 1).records
        made = record.asset_materialization
        assert made and made.tags
        values = {name: value.value for name, value in made.metadata.items()}
        return made.tags["dagster/data_version"], values, record.run_id

    def told(self, asset: str) -> dict[str, list[str]]:
        """The generations that each partition was told of, oldest first."""
        found: dict[str, list[str]] = {}
        records = self.instance.fetch_observations(dg.AssetKey(asset), 1000, ascending=True).records
        for record in records:
            seen = record.asset_observation
            assert seen and seen.partition
            by = seen.metadata["learned_by_generation"].value
            found.setdefault(seen.partition, []).append(str(by))
        return found


def _world(home: Home, instance: dg.DagsterInstance, number: int) -> World:
    """So many videos to learn from, in a tenth of which something is said, and one to watch."""
    keys = sorted(_remember(home, f"v{n}", clips=int(n % 10 == 0)) for n in range(number))
    watched = _remember(home, "visit", "watch", frames=2)
    instance.add_dynamic_partitions(common.videos.name or "", [*keys, watched])
    return World(home, instance, keys, watched)


def test_a_prediction_leads_back_and_a_video_forth(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    world = _world(home, instance, VIDEOS)
    watched = world.watched
    first = world.learn()
    world.make("predictions", partition=watched)
    version, told, _ = world.latest("predictions")
    content = store.content(home, watched)
    assert version == f"{first}:{content}"
    assert (told["generation"], told["manifest"]) == (first, manifests.current(home).sha)

    # Back, run by run.
    version, of_generation, run = world.latest("generation")
    assert (version, run) == (first, told["generation_run"])
    assert told["generation_asset"] == dg.AssetKey("generation")
    version, of_memory, run = world.latest("memory")
    assert (version, run) == (told["manifest"], told["manifest_run"])
    assert of_generation["manifest_run"] == run
    assert len(manifests.read(home, version).entries) == VIDEOS
    assert f"/assets/frames?view=partitions&partition={world.keys[0]}" in of_memory["entries"]
    assert "50 more are not shown" in of_memory["entries"]

    # Forth, from each video, as far as that is told at once.
    assert set(world.told("frames")) == set(world.keys[:100])
    assert set(world.told("clips")) < set(world.keys[:100])

    # One is captured anew, one forgotten, one new: only what is new is told.
    anew, gone, new = world.keys[3], world.keys[4], _remember(home, "another")
    store.remember(home, videos.find(home, anew), _senses(2))
    forget(home, gone)
    second = world.learn()
    assert {v: by for v, by in world.told("frames").items() if second in by} == {
        anew: [first, second],
        new: [second],
    }
    made = run_of(world, "generation", first)
    assert world.latest("generation")[1]["parent_run"] == made
    speaks_again = dg.AssetMaterialization("generation", tags={VERSION_TAG: first})  # no run's
    instance.report_runless_asset_event(speaks_again)
    assert back(instance, {"of": ("generation", first)})["of_run"].value == made

    # A generation is published while predictions run: they are of the one that they began with.
    predicting = predict.predict

    def meanwhile(*arguments: Any) -> Any:
        generations.publish(home, generations.read(home, first))
        return predicting(*arguments)

    monkeypatch.setattr(predict, "predict", meanwhile)
    world.make("predictions", partition=watched)
    assert generations.required(home).sha == first
    version, told, _ = world.latest("predictions")
    assert version == f"{second}:{content}" and told["generation"] == second
    assert told["generation_run"] == run_of(world, "generation", second)
    rows = read_predictions(home, watched, second).to_pylist()
    assert {row["generation"] for row in rows} == {second}
    assert {row["manifest"] for row in rows} == {told["manifest"]}
    assert not {row["clip_video"] for row in rows} & {gone}

    # And forth again over all of memory: what was captured anew is told apart.
    for content, spoke in ((store.content(home, anew), [second]), (None, [first, second])):
        assert sorted(lineage.dependents(home, anew, content).generations) == sorted(spoke)
    assert lineage.dependents(home, gone).generations == [first]
    assert lineage.dependents(home, new).predictions == {second: {watched: 2}}


def test_predictions_of_a_video_captured_anew_are_another_version(
    home: Home, instance: dg.DagsterInstance
):
    world = _world(home, instance, 20)
    generation = world.learn()
    world.make("predictions", partition=world.watched)
    before = world.latest("predictions")[0]
    store.remember(world.home, videos.find(world.home, world.watched), _senses(3))
    world.make("predictions", partition=world.watched)
    after = world.latest("predictions")[0]
    assert before != after == f"{generation}:{store.content(world.home, world.watched)}"


def run_of(world: World, asset: str, version: str) -> str:
    records = world.instance.fetch_materializations(dg.AssetKey(asset), 10).records
    [run] = {
        record.run_id
        for record in records
        if record.asset_materialization
        and (record.asset_materialization.tags or {})["dagster/data_version"] == version
    }
    return run
