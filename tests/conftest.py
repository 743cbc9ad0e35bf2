"""Media and homes that several tests share."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Before torch is loaded: two threads for networks as small as the tests' wait more than they work,
# and many times more beside anything else on the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# As wide as a test asks for: the commands' console would keep what a worker of the tests sets.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

import av
import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import torch
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from PIL import Image
from upath import UPath

from aela.association.pairs import make_pairs
from aela.capture import SAMPLE_RATE_HZ, Clip, Frame, Rejection
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import MODELS, Card, Checkpoint
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.videos import Role
from aela.mimicry import generation as generations
from aela.mimicry import predict
from aela.mimicry.generation import Generation
from aela.nursery import NurserySettings, make_nursery
from aela.storage import Home

SMALL = NurserySettings(
    things=2,
    train_seconds=8,
    test_segment_seconds=5,
    new_speaker_test=False,
    width=320,
    height=240,
    fps=10,
)


@pytest.fixture(autouse=True)
def _no_home_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never touch the data folder of the person who runs them."""
    for name in (
        "HOME",
        "PRESET",
        "EFFORT",
        "DEVICE",
        "CACHE",
        "CACHE_GB",
        "SAVE_EVERY_S",
        "MAX_PIXELS",
        "MAX_SECONDS",
    ):
        monkeypatch.delenv(f"AELA_{name}", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, which `Home.at()` finds too."""
    monkeypatch.setenv("AELA_HOME", str(tmp_path / "home"))
    return Home.at()


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.fixture
def on_disk() -> Iterator[dg.DagsterInstance]:
    """An instance that threads may share."""
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two things in four short training videos, one test video and labels.json."""
    folder = tmp_path_factory.mktemp("nursery")
    make_nursery(folder, SMALL)
    return folder


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transport stream of 7 s at 10 fps with a key frame each second, and three spoken words."""
    random, rate = np.random.default_rng(0), SAMPLE_RATE_HZ
    samples = random.normal(0, 1e-3, 7 * rate)
    place = np.arange(round(0.6 * rate)) / round(0.6 * rate)
    phase = 2 * np.pi * np.cumsum(120 * (1 + 0.15 * np.sin(2 * np.pi * place))) / rate
    word = np.zeros_like(place)
    for harmonic in range(1, 40):  # a voice whose resonances move
        formants = ((700 - 400 * place, 90), (1100 + 1100 * place, 120))
        gain = sum(1 / (1 + ((120 * harmonic - hz) / width) ** 2) for hz, width in formants)
        word += gain * np.sin(harmonic * phase)
    for start_s in (0.6, 2.7, 4.6):
        start = round(start_s * rate)
        samples[start : start + len(word)] += (
            0.3 * word / np.abs(word).max() * np.hanning(len(word))
        )
    scene = random.integers(0, 256, (30, 110, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    path = tmp_path_factory.mktemp("film") / "film.ts"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=10, options={"g": "10"})
        picture.width, picture.height, picture.pix_fmt = 160, 120, "yuv420p"
        sound = container.add_stream("aac", rate=rate, layout="mono")
        for number in range(70):
            view = scene[:, 4 * number :][:, :160].copy()
            container.mux(picture.encode(VideoFrame.from_ndarray(view, "rgb24")))
            block = samples[number * rate // 10 : (number + 1) * rate // 10]
            piece = AudioFrame.from_ndarray(block[None].astype(np.float32), "fltp", "mono")
            piece.sample_rate = rate
            container.mux(sound.encode(piece))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    return path


@dataclass(frozen=True)
class Life:
    """A home in which a cup and a pen were learned and one video was watched, all by made-up
    networks: the keys of the videos, and the generation that speaks.
    """

    home: Home
    cup: str
    pen: str
    watched: str
    generation: Generation

    def remember(self, name: str, role: Role) -> str:
        return remember(self.home, name, role)

    def learn(self) -> Generation:
        return learn(self.home)


def remember(home: Home, name: str, role: Role) -> str:
    """A video of three frames, two clips and a rejection."""
    source = UPath(home.root / "outside" / f"{name}.mp4")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(f"the {name}".encode())
    video = videos.take_in(home, source, role, move=False)
    views, tone = np.zeros((2, 12, 16, 3), np.uint8), np.sin(np.arange(44_100) / 20) / 2
    senses: list[Frame | Clip | Rejection] = [Rejection("frame", 3.0, 3.0, "blurry", 0.2)]
    for second in range(3):
        buffer = io.BytesIO()
        Image.new("RGB", (32, 24), (60 * second, sum(name.encode()) % 256, 9)).save(buffer, "JPEG")
        senses.append(Frame(float(second), buffer.getvalue(), 32, 24, 0.1, views))
    senses += [Clip(s, s + 0.7, tone.astype(np.float32), 0.1, -20.3, 30.1) for s in (0.1, 2.1)]
    store.remember(home, video, senses)
    return video.video


def learn(home: Home) -> Generation:
    """Made-up checkpoints, embeddings and predictions of all that is remembered now."""
    manifest, made = manifests.take(home), dict[str, Checkpoint]()
    manifests.set_current(home, manifest)
    for model in MODELS:
        card = Card(model, {}, 0, manifest.sha, inputs={k: v.sha for k, v in made.items()})
        made[model] = checkpoints.save(home, card, {"w": torch.ones(2)})
        checkpoints.set_current(home, made[model])
    random = np.random.default_rng(0)
    for entry in manifest.entries:
        of = (home, made["image_encoder"].sha, entry.video, entry.content)
        embeddings.write(*of, embeddings.unit(random.normal(size=(3, 4))))
        embeddings.write(*of, embeddings.unit(random.normal(size=(1, 4))), "ground")
        of = (home, made["word_autoencoder"].sha, entry.video, entry.content)
        embeddings.write(*of, random.normal(size=(2, 3)))
    pairs = make_pairs(home, manifest, made["image_encoder"], made["word_autoencoder"], 1.0)
    shas = {model: checkpoint.sha for model, checkpoint in made.items()}
    generation = Generation(**shas, pairs=pairs, manifest=manifest.sha, threshold=0.5)
    generations.publish(home, generation)
    names = [entry.video for entry in manifest.entries]
    for entry in store.remembered(home, "watch"):
        path = home.predictions(entry.video, generation.sha)
        sound = path.with_suffix("") / "00000.flac"
        sound.parent.mkdir(parents=True, exist_ok=True)
        sound.write_bytes(store.to_flac(np.zeros(100, np.float32)))
        rows = [
            {
                "time_s": float(second),
                "said": second == 0,
                "confidence": 0.5,
                "novelty": 0.1,
                "sound": home.relative(sound) if second == 0 else None,
                "clip_video": names[0 if second == 0 else -1],
                "clip_start_s": 0.1,
                "clip_end_s": 0.8,
                "frames": [
                    {"video": names[0 if second < 2 else -1], "time_s": 1.0, "similarity": 0.9}
                ],
                "generation": generation.sha,
                "manifest": manifest.sha,
                **shas,
            }
            for second in range(3)
        ]
        predict.write(pa.Table.from_pylist(rows, schema=predict.PREDICTIONS), path)
        path.with_suffix(".mp4").write_bytes(b"shows what it remembered")
    report = home.report(generation.sha)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_bytes(b"shows what it remembered")
    return generation


@pytest.fixture
def life(home: Home) -> Life:
    cup, pen = (remember(home, name, "learn") for name in ("cup", "pen"))
    return Life(home, cup, pen, remember(home, "visit", "watch"), learn(home))
