"""Embeddings of memory: what a checkpoint takes over from its parent, and what it makes anew."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from upath import UPath

from aela.learning import embeddings
from aela.learning.embeddings import Sense
from aela.memory import manifest as manifests
from aela.memory import store
from aela.memory.manifest import ChangedMemory, Manifest
from aela.storage import Home, read_json, write_json
from tests.conftest import Life, remember


class Eyes:
    """An encoder that embeds each frame as its own number, and counts how often it is asked."""

    def __init__(self, number: float) -> None:
        self.number, self.asked = number, 0

    def __call__(self, frames: pa.Table) -> np.ndarray:
        self.asked += len(frames)
        return np.full((len(frames), 2), self.number, np.float32)


def refreshed(
    home: Home, checkpoint: str, manifest: Manifest, number: float, **of: str | int | None
) -> int:
    eyes = Eyes(number)
    assert embeddings.refresh(home, checkpoint, manifest, "frame", eyes, **of) == eyes.asked  # type: ignore[arg-type]
    return eyes.asked


def by(home: Home, checkpoint: str, manifest: Manifest) -> list[float]:
    """The number of the encoder behind each video's embeddings."""
    values, offsets = embeddings.gather(home, checkpoint, manifest, "frame")
    alone = [embeddings.read(home, checkpoint, entry.video)[0, 0] for entry in manifest.entries]
    assert [values[offsets[entry.video], 0] for entry in manifest.entries] == alone
    return alone


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.at(UPath(tmp_path))


def test_a_round_embeds_what_is_new_and_takes_the_rest_over(home: Home) -> None:
    for name in ("a", "b", "c"):
        remember(home, name, "learn")
    old = manifests.take(home)
    assert refreshed(home, "one", old, 1.0) == 9
    remember(home, "d", "learn")
    now = manifests.take(home)
    assert refreshed(home, "two", now, 2.0, parent="one", most=0) == 3
    assert by(home, "two", now) == [1.0, 1.0, 1.0, 2.0]
    assert refreshed(home, "two", now, 2.0, parent="one", most=0) == 0


def test_what_is_embedded_of_some_videos_leaves_what_was_taken_over_of_others(home: Home) -> None:
    """As the evaluation embeds watched videos with the checkpoint that speaks."""
    remember(home, "a", "learn")
    learned = manifests.take(home)
    refreshed(home, "one", learned, 1.0)
    refreshed(home, "two", learned, 2.0, parent="one", most=0)
    remember(home, "b", "learn")
    [watched] = set(manifests.take(home).entries) - set(learned.entries)
    assert refreshed(home, "two", Manifest((watched,)), 2.0) == 3
    assert by(home, "two", learned) == [1.0]
    assert by(home, "two", Manifest((watched,))) == [2.0]


def test_everything_is_embedded_anew_in_turn(home: Home) -> None:
    for name in "abcd":
        remember(home, name, "learn")
    manifest = manifests.take(home)
    refreshed(home, "0", manifest, 0.0)
    for number in range(1, 9):
        # Six rows: two videos a round, those whose embeddings are the oldest.
        assert refreshed(home, str(number), manifest, number, parent=str(number - 1), most=6) == 6
        if number > 1:
            assert Counter(by(home, str(number), manifest)) == {number: 2, number - 1: 2}


def test_a_video_longer_than_a_round_embeds_has_its_turn(home: Home) -> None:
    remember(home, "long", "learn")
    manifest = manifests.take(home)
    refreshed(home, "0", manifest, 0.0)
    asked = [
        refreshed(home, str(number), manifest, number, parent=str(number - 1), most=1)
        for number in range(1, 7)
    ]
    assert asked == [0, 0, 3, 0, 0, 3]  # Three rows, one a round on average.


def test_without_a_bound_all_is_embedded_anew(home: Home) -> None:
    remember(home, "a", "learn")
    manifest = manifests.take(home)
    refreshed(home, "one", manifest, 1.0)
    assert refreshed(home, "two", manifest, 2.0, parent="one", most=0) == 0
    assert refreshed(home, "two", manifest, 2.0) == 3
    assert by(home, "two", manifest) == [2.0]


def test_what_was_captured_anew_is_not_taken_over(life: Life) -> None:
    home, manifest = life.home, manifests.of_now(life.home)
    first, *others = manifest.entries
    changed = Manifest((type(first)(first.video, "other rows", 3, 2), *others))
    refreshed(home, "one", manifest, 1.0)
    with pytest.raises(ChangedMemory):
        refreshed(home, "two", changed, 2.0)  # Memory does not hold these yet.
    index = home.index / f"{first.video}.json"
    write_json(index, {**read_json(index), "content": "other rows"})
    assert refreshed(home, "two", changed, 2.0, parent="one", most=0) == 3
    gone, *there = embeddings.find(home, "two", [first, *others])
    assert gone is None and len(there) == len(others)
    assert all(values is not None for values in there)


def test_what_speaks_by_a_checkpoint_finds_the_same_embeddings_whenever_it_is_asked_again(
    home: Home,
) -> None:
    for name in "abcd":
        remember(home, name, "learn")
    manifest = manifests.take(home)
    refreshed(home, "one", manifest, 1.0)
    assert refreshed(home, "two", manifest, 2.0, parent="one", most=6) == 6
    settled = by(home, "two", manifest)
    assert refreshed(home, "two", manifest, 2.0, parent="one", most=6) == 0
    assert by(home, "two", manifest) == settled and set(settled) == {1.0, 2.0}


def test_of_a_long_video_only_some_rows_are_held_at_a_time(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = remember(home, "long", "learn")
    manifest = manifests.take(home)
    monkeypatch.setattr(store, "ROWS_AT_ONCE", 2)
    monkeypatch.setattr(embeddings, "GROUND_FRAMES", 2)
    first, middle, last = store.read_frames(home, video)["time_s"].to_pylist()
    parts: dict[Sense, list[list[float]]] = {
        "frame": [[first, middle], [last]],
        "ground": [[first, last]],
    }
    for sense, looked_at in parts.items():
        asked: list[list[float]] = []

        def eyes(frames: pa.Table, asked: list[list[float]] = asked) -> np.ndarray:
            asked.append(frames["time_s"].to_pylist())
            return frames["time_s"].to_numpy().reshape(-1, 1)

        embeddings.refresh(home, "one", manifest, sense, eyes)
        assert asked == looked_at
        assert (
            embeddings.read(home, "one", video, sense)[:, 0].tolist()
            == np.concatenate(looked_at).tolist()
        )
