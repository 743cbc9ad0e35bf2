"""Training, loading and embedding on small memories made here."""

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image
from upath import UPath

from aela.capture import Frame
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import Card
from aela.learning.loop import Budget, Progress
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.manifest import EmptyMemory, Manifest
from aela.storage import Home
from aela.vision.encoder import load_image_encoder, untrained_image_encoder
from aela.vision.pictures import ground_of, looked_at
from aela.vision.settings import ARTICLE, DEFAULT, QUICK, ImageEncoderSettings
from aela.vision.train import NEW_SHARE, Batches, train_image_encoder

SMALL = dataclasses.replace(DEFAULT, budget=Budget(steps=4), input_px=32, batch=8)
COLOURS = {"red": (200, 40, 40), "green": (40, 170, 60), "blue": (50, 60, 200)}


def picture(
    colour: str, angle: float, seed: int, width: int = 128, height: int = 96, size: float = 0.25
) -> np.ndarray:
    """A turning striped bar of one colour before a grey, noisy room: uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    room = np.kron(random.uniform(60, 200, (6, 8)), np.ones((height // 6 + 1, width // 8 + 1)))
    view = np.repeat(room[:height, :width, None], 3, axis=2)
    y, x = np.mgrid[:height, :width] / height - np.array([0.5, width / height / 2])[:, None, None]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    bar = (np.abs(along) < size) & (np.abs(across) < 0.6 * size)
    stripes = 0.6 + 0.4 * np.sign(np.sin(25 * along))
    view = np.where(bar[..., None], stripes[..., None] * np.array(COLOURS[colour]), view)
    return view.astype(np.uint8)


def film(colour: str, frames: int, seed: int, **shape: int) -> Iterator[Frame]:
    """A video's frames: one a second, while the bar turns."""
    for second in range(frames):
        views = [picture(colour, 0.4 * (second + d), seed, **shape) for d in (-0.3, 0, 0.3)]
        buffer = io.BytesIO()
        Image.fromarray(views[1]).save(buffer, "JPEG", quality=90)
        neighbours = np.stack([views[0], views[2]])
        height, width = views[1].shape[:2]
        yield Frame(float(second), buffer.getvalue(), width, height, 1.0, neighbours)


def remember(home: Home, colour: str, frames: int, seed: int, **shape: int) -> str:
    source = UPath(home.root / f"{colour}{seed}.mp4")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_bytes(f"{colour} {seed}".encode())
    video = videos.take_in(home, source, "learn", move=True)
    store.remember(home, video, film(colour, frames, seed, **shape))
    return video.video


def memory(home: Home, frames: int = 6) -> Manifest:
    for seed, colour in enumerate(COLOURS):
        remember(home, colour, frames, seed)
    return manifests.take(home)


def test_a_trained_encoder_is_loaded_and_embeds_frames_of_any_shape(home: Home) -> None:
    reports: list[Progress] = []
    checkpoint = train_image_encoder(home, memory(home), SMALL, seed=0, report=reports.append)
    assert reports[-1].step == 4
    encoder = load_image_encoder(home, checkpoint.sha)
    for shape in ({}, {"width": 72, "height": 128}, {"width": 320, "height": 90}):
        video = remember(home, "red", 3, 7, **shape)
        frames = store.read_frames(home, video)
        embeddings = encoder.embed(frames)
        assert embeddings.shape == (3, 64)
        assert embeddings.dtype == np.float32
        assert np.linalg.norm(embeddings, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
        seen = encoder.look(frames)
        assert seen.shape == (3, 32, 32, 3)
        assert seen.dtype == np.uint8
    assert encoder.embed(frames.slice(0, 0)).shape == (0, 64)


def test_it_looks_at_the_thing_and_not_at_the_room(home: Home) -> None:
    frames = store.read_frames(home, remember(home, "red", 4, seed=3))
    seen = untrained_image_encoder(SMALL, seed=0).look(frames).astype(float)
    middle, corners = seen[:, 13:19, 13:19], seen[:, :3, :3]
    redness = middle[..., 0] - middle[..., 1:].mean(axis=3)
    assert redness.mean() > 50
    assert np.ptp(corners) < 40  # grey


def test_what_lies_beside_the_thing_is_the_room(home: Home) -> None:
    frames = store.read_frames(home, remember(home, "red", 4, seed=3))
    ground = ground_of(frames, SMALL)[:, :3].float()
    assert (ground[:, 0] - ground[:, 1:].mean(dim=1)).mean() < 10  # grey
    assert untrained_image_encoder(SMALL, seed=0).embed_ground(frames).shape == (4, 64)
    assert len(ground_of(frames, ARTICLE)) == 0


def test_equal_seeds_give_equal_checkpoints_and_others_do_not(home: Home) -> None:
    manifest = memory(home)
    first, again, other = (
        train_image_encoder(home, manifest, SMALL, seed=seed).sha for seed in (0, 0, 1)
    )
    assert first == again != other


def test_what_was_looked_at_is_read_from_the_cache_and_changes_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = memory(home)
    few = dataclasses.replace(SMALL, frames_most=9)
    alone = train_image_encoder(home, manifest, few, seed=0).sha
    all_of_it = train_image_encoder(home, manifest, SMALL, seed=0).sha
    monkeypatch.setattr("aela.vision.train.looked_at", None)  # Nothing is looked at again.
    assert train_image_encoder(home, manifest, SMALL, seed=0).sha == all_of_it
    assert train_image_encoder(home, manifest, few, seed=0).sha == alone
    assert train_image_encoder(home, manifest, few, seed=1).sha != alone


def test_a_frame_looks_the_same_alone_and_among_others(home: Home) -> None:
    frames = store.read_frames(home, remember(home, "red", 5, seed=3))
    together = looked_at(frames, DEFAULT)
    for row in range(5):
        assert torch.equal(looked_at(frames.slice(row, 1), DEFAULT)[0], together[row])


def test_training_goes_on_from_a_parent(home: Home) -> None:
    manifest = memory(home)
    still = dataclasses.replace(SMALL, learning_rate=1e-6)
    parent = train_image_encoder(home, manifest, SMALL, seed=0)
    child = train_image_encoder(home, manifest, still, seed=5, parent=parent)
    fresh = train_image_encoder(home, manifest, still, seed=5)
    assert child.card.parent == parent.sha
    frames = store.read_frames(home, manifest.entries[0].video)
    before, after, elsewhere = (
        load_image_encoder(home, checkpoint.sha).state_dict()["network.head.0.weight"]
        for checkpoint in (parent, child, fresh)
    )
    assert (after - before).abs().max() < 1e-3 < (elsewhere - before).abs().max()
    assert len(load_image_encoder(home, child.sha).embed(frames)) == len(frames)
    many = dataclasses.replace(SMALL, prototypes=manifest.frames + 5)
    grown = train_image_encoder(home, manifest, many, seed=0, parent=parent)
    assert grown.card.metrics["prototypes"] == manifest.frames + 5
    other = dataclasses.replace(SMALL, described_by="last stage")
    with pytest.raises(ValueError, match=r"has another network .* without a parent\.$"):
        train_image_encoder(home, manifest, other, seed=0, parent=parent)


def test_in_a_round_old_frames_stay_where_they_lay(home: Home) -> None:
    manifest = memory(home)
    parent = train_image_encoder(home, manifest, SMALL, seed=0)
    embed = load_image_encoder(home, parent.sha).embed
    embeddings.refresh(home, parent.sha, manifest, "frame", embed)
    old = [store.read_frames(home, entry.video) for entry in manifest.entries]
    remember(home, "red", 4, seed=7)
    now, near = manifests.take(home), {}
    for aligned in (True, False):
        settings = dataclasses.replace(SMALL, aligned=aligned)
        child = train_image_encoder(home, now, settings, seed=1, parent=parent)
        again = load_image_encoder(home, child.sha).embed
        near[aligned] = np.mean([(again(rows) * embed(rows)).sum(axis=1).mean() for rows in old])
        assert child.card.metrics["kept"] == pytest.approx(near[aligned], abs=0.05)
    assert near[True] > 0.8 > near[False] + 0.2


def test_what_is_alike_on_average_is_told_apart_by_how_its_parts_differ() -> None:
    plain = torch.full((1, 4, 48, 48), 0.5)
    spotted = plain.clone()
    spotted[:, :3, 4::8] += 0.3
    spotted[:, :3, ::8] -= 0.3
    plain[:, 3] = spotted[:, 3] = 1.0
    alike = {}
    for described_by in ("all stages", "stages and spread"):
        settings = dataclasses.replace(SMALL, input_px=48, described_by=described_by)
        network = untrained_image_encoder(settings, seed=0).network
        with torch.no_grad():
            one, other = network.describe(torch.cat([plain, spotted])).split(1)
        alike[described_by] = float(torch.cosine_similarity(one, other))
    assert alike["stages and spread"] < alike["all stages"] - 0.05


def test_in_a_round_new_frames_have_their_share_of_each_batch_and_no_more() -> None:
    old = torch.arange(200) >= 10
    batches = Batches(old, 40, torch.Generator().manual_seed(0))
    drawn = torch.stack([next(batches) for _ in range(10)])
    assert (~old[drawn]).sum(dim=1).tolist() == [NEW_SHARE * 40] * 10
    assert drawn.unique().tolist() == list(range(200))


def test_training_learns_and_its_card_tells_whether_it_collapsed(home: Home) -> None:
    settings = dataclasses.replace(
        SMALL, budget=Budget(steps=40), batch=24, covered=0.0, learning_rate=3e-3, prototypes=6
    )
    checkpoint = train_image_encoder(home, memory(home, frames=8), settings, seed=0)
    metrics = checkpoint.card.metrics
    assert metrics["last_loss"] < 0.8 * metrics["loss_of_chance"]
    assert metrics["prototypes_used"] >= 0.5
    assert metrics["effective_rank"] > 2
    assert metrics["last_entropy"] < metrics["loss_of_chance"]
    encoder = load_image_encoder(home, checkpoint.sha)
    known = {
        colour: encoder.embed(store.read_frames(home, remember(home, colour, 6, seed)))
        for seed, colour in enumerate(COLOURS)
    }
    for colour in COLOURS:  # in a room never seen
        frames = store.read_frames(home, remember(home, colour, 3, seed=11))
        nearness = {name: (encoder.embed(frames) @ rows.T).max() for name, rows in known.items()}
        assert max(nearness, key=lambda name: nearness[name]) == colour


def test_eight_frames_are_enough_and_fewer_are_refused_in_one_sentence(home: Home) -> None:
    remember(home, "red", 7, seed=0)
    with pytest.raises(EmptyMemory, match=r"^Memory holds 7 frames .* video\.$"):
        train_image_encoder(home, manifests.take(home), SMALL, seed=0)
    remember(home, "blue", 1, seed=1)
    checkpoint = train_image_encoder(home, manifests.take(home), SMALL, seed=0)
    assert np.isfinite(list(checkpoint.card.metrics.values())).all()


def test_a_large_memory_is_drawn_from_evenly(home: Home) -> None:
    few = dataclasses.replace(SMALL, frames_most=9)
    checkpoint = train_image_encoder(home, memory(home), few, seed=0)
    assert checkpoint.card.metrics["frames"] == 9


def test_the_article_looks_at_the_whole_frame_through_resnet18(home: Home) -> None:
    assert (ARTICLE.temperature, ARTICLE.epsilon, ARTICLE.batch) == (2e-2, 5e-3, 128)
    article = dataclasses.replace(ARTICLE, budget=Budget(steps=1), input_px=64, batch=4)
    checkpoint = train_image_encoder(home, memory(home, frames=3), article, seed=0)
    encoder = load_image_encoder(home, checkpoint.sha)
    frames = store.read_frames(home, remember(home, "red", 2, seed=3))
    assert encoder.embed(frames).shape == (2, 64)
    assert np.ptp(encoder.look(frames)[:, :6].astype(float)) > 40  # the room is seen


@pytest.mark.parametrize("settings", [ARTICLE, DEFAULT, QUICK])
def test_settings_survive_the_card(settings: ImageEncoderSettings) -> None:
    card = Card("image_encoder", checkpoints.settings_dict(settings), 0, "manifest")
    assert checkpoints.settings_from(ImageEncoderSettings, card) == settings


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0.0), ("batch", 1), ("prototypes", 1), ("zoom", 2.0)]
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{name} must lie between"):
        dataclasses.replace(DEFAULT, **{name: value})


def test_a_training_that_collapses_starts_again_with_centred_embeddings(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(SMALL, budget=Budget(steps=20))
    manifest = memory(home)
    sound = train_image_encoder(home, manifest, settings, seed=0)
    assert sound.card.settings["centred"] is False
    monkeypatch.setattr("aela.vision.train.COLLAPSED", 0.0)  # as if every training collapsed
    mended = train_image_encoder(home, manifest, settings, seed=0)
    assert mended.card.settings["centred"] is True
    assert mended.card.metrics["steps"] == 20
