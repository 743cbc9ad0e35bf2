"""Forgetting a video: nothing of it is left to see or hear, and the fact of it stays."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from upath import UPath

from aela.association.pairs import read_pairs
from aela.capture import Rejection
from aela.learning import checkpoints, embeddings
from aela.learning.checkpoints import MODELS, Card
from aela.memory import forget as forgetting
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.cache import Cache
from aela.memory.forget import forget, unless_forgotten
from aela.memory.manifest import ChangedMemory, EmptyMemory, Manifest
from aela.memory.videos import UnknownVideo
from aela.mimicry import generation as generations
from aela.mimicry.predict import forgotten_in, read_predictions
from aela.mimicry.recall import load_remembering
from aela.mimicry.trace import UnknownPrediction, trace
from aela.storage import Home

Life = Any  # the home that the fixture `life` makes
KINDS = (
    "record",
    "rows",
    "embeddings",
    "bookmarks",
    "predictions",
    "spoken videos",
    "reports",
    "file",
    "cache",
)


def named_after(home: Home, video: str) -> set[str]:
    """Files that carry the key of a video, or lie in a folder that does."""
    root = Path(str(home.root))
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {path for path in found if video in path}


def remembering(home: Home):
    generation = generations.required(home)
    return load_remembering(
        home, generation.manifest, generation.image_encoder, generation.word_autoencoder
    )


def test_nothing_of_it_is_left_but_the_fact(life: Life):
    home, generation = life.home, life.generation
    content = store.content(home, life.cup)
    cached = Cache.of(home).folder / str(content) / "pictures.npy"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"pictures")
    interrupted = home.frames(life.cup).parent / f".{life.cup}.parquet.x1"
    interrupted.write_bytes(b"half of the frames")
    assert len(named_after(home, life.cup)) == 10
    record = forget(home, life.cup)
    assert named_after(home, life.cup) == {f"forgotten/{life.cup}.json"}
    assert not cached.exists()
    assert (record.content, record.frames, record.clips) == (content, 3, 2)
    assert record.checkpoints == {m: [getattr(generation, m)] for m in sorted(MODELS)}
    assert record.generations == [generation.sha]
    assert record.leaning == {life.watched: 2}
    assert forgetting.all_forgotten(home) == {life.cup: record}
    assert [e.video for e in store.remembered(home)] == [life.pen, life.watched]


def test_the_speaking_generation_goes_on_without_it(life: Life):
    forget(life.home, life.cup)
    memory = remembering(life.home)
    assert set(memory.frame_videos) == set(memory.clip_videos) == {life.pen}
    assert (len(memory.images), len(memory.ground), len(memory.words)) == (3, 1, 2)
    assert set(read_pairs(life.home, life.generation.pairs)["video"].to_pylist()) == {life.pen}
    with pytest.raises(ChangedMemory, match=f"{life.cup} was forgotten"):
        list(manifests.rows(life.home, manifests.read(life.home, life.generation.manifest), "clip"))
    forget(life.home, life.pen)
    with pytest.raises(EmptyMemory, match="forgotten; learn from other videos"):
        remembering(life.home)


def test_what_shows_its_moments_goes_and_predictions_of_others_stay(life: Life):
    forget(life.home, life.cup)
    path = life.home.predictions(life.watched, life.generation.sha)
    assert len(read_predictions(life.home, life.watched, path.stem)) == 3
    assert forgotten_in(life.home, read_predictions(life.home, life.watched, path.stem)) == [
        life.cup
    ]
    assert not path.with_suffix(".mp4").exists()
    assert not life.home.evaluation(life.generation.sha).exists()


def test_a_trace_says_what_was_forgotten(life: Life):
    record = forget(life.home, life.cup)
    found = trace(life.home, f"{life.watched}@0")
    assert found.row["clip_video"] == life.cup
    assert found.forgotten == {life.cup: record.forgotten}
    assert [entry.video for entry in found.manifest.entries] == [life.cup, life.pen]
    forget(life.home, life.watched)
    with pytest.raises(UnknownPrediction, match=f"{life.watched} was forgotten on"):
        trace(life.home, f"{life.watched}@0")


@pytest.mark.parametrize("killed_at", KINDS)
def test_whatever_interrupts_it_forgetting_again_finishes(life: Life, killed_at: str):
    def kill(name: str) -> None:
        if name == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forget(life.home, life.cup, kill)
    assert set(remembering(life.home).clip_videos) == {life.pen}
    assert forgetting.find(life.home, life.cup[:5]) == life.cup
    again = forget(life.home, life.cup)
    assert named_after(life.home, life.cup) == {f"forgotten/{life.cup}.json"}
    assert again.leaning == {life.watched: 2} and again.generations == [life.generation.sha]
    assert forgetting.finished(life.home, again)


def test_the_same_file_dropped_again_is_taken_in_afresh(life: Life):
    forget(life.home, life.cup)
    anew = life.remember("cup", "learn")
    assert anew == life.cup.replace("cup-", "cup_2-")
    assert life.remember("cup", "learn") == anew
    assert set(remembering(life.home).clip_videos) == {life.pen}
    life.learn()
    assert set(remembering(life.home).clip_videos) == {anew, life.pen}
    forget(life.home, anew)
    assert life.remember("cup", "learn") == life.cup.replace("cup-", "cup_3-")


def test_what_goes_on_from_marked_checkpoints_is_marked_too(life: Life):
    home = life.home
    parent = checkpoints.read(home, "image_encoder", life.generation.image_encoder)
    life.remember("key", "learn")
    manifest = manifests.take(home).sha
    child = checkpoints.save(home, Card("image_encoder", {}, 1, "other", parent.sha), {})
    decoder = Card("image_decoder", {}, 0, "other", inputs={"image_encoder": child.sha})
    above = checkpoints.save(home, decoder, {})
    alone = checkpoints.save(home, Card("image_encoder", {}, 2, "other"), {})
    record = forget(home, life.cup)
    assert set(record.checkpoints["image_encoder"]) == {parent.sha, child.sha}
    assert record.checkpoints["image_decoder"] == [above.sha]
    without = manifests.take(home).sha
    assert forgetting.marked(home, "image_encoder", child.sha, without)
    assert forgetting.marked(home, "image_encoder", "trained while it was forgotten", manifest)
    assert not forgetting.marked(home, "image_encoder", alone.sha, without)


def test_what_a_training_under_way_made_is_named_when_it_is_forgotten_again(life: Life):
    home = life.home
    before = forget(home, life.cup)
    assert forgetting.finished(home, before)
    card = Card("image_encoder", {}, 1, life.generation.manifest)
    late = checkpoints.save(home, card, {"w": torch.zeros(1)})
    assert not forgetting.finished(home, before)
    again = forget(home, life.cup)
    assert late.sha in again.checkpoints["image_encoder"]
    assert again.forgotten == before.forgotten and again.leaning == before.leaning
    assert forgetting.finished(home, again) and forgetting.all_forgotten(home)[life.cup] == again


def test_what_was_shown_without_it_since_stays(life: Life):
    home, generation = life.home, life.generation
    record = forget(home, life.cup)
    report = home.report(generation.sha)
    report.parent.mkdir(parents=True)
    report.write_bytes(b"shows a pen")
    assert not forgetting.finished(home, record)  # It was never written to the end.
    home.metrics(generation.sha).write_bytes(b"{}")
    spoken = home.spoken_video(life.watched, generation.sha)
    spoken.write_bytes(b"shows a pen")
    assert forgetting.finished(home, record)
    assert forget(home, life.cup) == record
    assert report.exists() and spoken.exists()


def test_what_shows_it_is_not_kept_when_it_is_forgotten_meanwhile(life: Life):
    home, generation = life.home, life.generation
    spoken = home.spoken_video(life.watched, generation.sha)
    with unless_forgotten(home, spoken):
        spoken.write_bytes(b"shows a cup")
    assert spoken.exists()
    with (
        pytest.raises(ChangedMemory, match=f"{life.cup} was forgotten while"),
        unless_forgotten(home, spoken),
    ):
        forget(home, life.cup)
        spoken.write_bytes(b"shows a cup")
    assert not spoken.exists()
    assert forgetting.finished(home, forgetting.all_forgotten(home)[life.cup])


def test_what_was_begun_before_an_error_is_not_kept_either(life: Life):
    spoken = life.home.spoken_video(life.watched, life.generation.sha)
    with pytest.raises(OSError, match="no room"), unless_forgotten(life.home, spoken):
        spoken.write_bytes(b"shows a cup")
        forget(life.home, life.cup)
        raise OSError("no room")
    assert not spoken.exists()


def test_embeddings_of_what_is_forgotten_meanwhile_are_not_kept(life: Life):
    home = life.home

    def embed(frames: pa.Table) -> np.ndarray:
        if life.pen not in forgetting.all_forgotten(home):
            forget(home, life.pen)
        return np.ones((len(frames), 4), np.float32)

    other = Manifest(tuple(e for e in manifests.take(home).entries if e.video == life.pen))
    embeddings.refresh(home, "made meanwhile", other, "frame", embed)
    assert named_after(home, life.pen) == {f"forgotten/{life.pen}.json"}


def test_cached_pictures_of_earlier_captures_go_too(life: Life):
    home, cache = life.home, Cache.of(life.home)
    earlier = store.content(home, life.cup)
    video = videos.find(home, life.cup)
    store.remember(home, video, [Rejection("frame", 0.0, 0.0, "blurry", 0.2)])
    later = store.content(home, life.cup)
    assert earlier != later
    for content in (earlier, later):
        (cache.folder / str(content)).mkdir(parents=True)
    forget(home, life.cup)
    assert list(cache.folder.iterdir()) == []


def test_a_watched_video_is_forgotten_with_the_reports_that_show_it(life: Life):
    record = forget(life.home, life.watched)
    assert named_after(life.home, life.watched) == {f"forgotten/{life.watched}.json"}
    assert record.checkpoints == {} and record.generations == []
    assert not life.home.evaluation(life.generation.sha).exists()
    assert set(remembering(life.home).clip_videos) == {life.cup, life.pen}


def test_what_is_half_written_goes_also_under_a_long_name(life: Life):
    video = life.remember("a very long name of a video, as phones and messengers " * 2, "learn")
    half = life.home.frames(video).with_name(f".{video}.parquet.part")
    half.write_bytes(b"half of the frames")
    forget(life.home, video)
    assert named_after(life.home, video) == {f"forgotten/{video}.json"}


def test_a_video_that_was_never_ingested_is_forgotten(home: Home):
    source = UPath(home.root / "cup.mp4")
    source.parent.mkdir()
    source.write_bytes(b"cup")
    video = videos.take_in(home, source, "learn", move=False).video
    assert forget(home, video).content is None
    assert named_after(home, video) == {f"forgotten/{video}.json"}
    assert source.exists()


def test_names_may_be_shortened_while_they_are_unique(life: Life):
    assert forgetting.find(life.home, "c") == life.cup
    life.remember("cupboard", "learn")
    with pytest.raises(UnknownVideo, match="the start of several"):
        forgetting.find(life.home, "cup")
    assert forgetting.find(life.home, life.cup) == life.cup
    for nobody in ("", "spoon", "../cup"):
        with pytest.raises(UnknownVideo):
            forgetting.find(life.home, nobody)
