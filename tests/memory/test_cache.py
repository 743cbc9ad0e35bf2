"""A cache of pictures: made once, bounded, and made again whenever something is wrong with it."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from aela.memory.cache import Cache, Rows, Wanted
from aela.storage import Home

SHAPE = (2, 3, 3)
FILE_BYTES = 132 + 10 * 18  # of ten rows: header, rows, checksum


class Painter:
    """Makes rows that tell the video and the row, and counts what it made."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []

    def of(self, video: str, rows: list[int] | range = range(10), size: int = 10) -> Wanted:
        def make(numbers: np.ndarray) -> np.ndarray:
            self.made += [(video, int(number)) for number in numbers]
            return truth(video, numbers)

        return Wanted(video, size, np.array(rows), {"look": "thing"}, make)


def truth(video: str, numbers: np.ndarray | list[int] | range) -> np.ndarray:
    noise = np.random.default_rng(sum(video.encode())).integers(0, 200, SHAPE)
    return np.stack([noise + number for number in numbers]).astype(np.uint8)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1_000_000)


@pytest.fixture
def painter() -> Painter:
    return Painter()


def test_rows_of_many_videos_are_gathered_in_any_order(cache: Cache, painter: Painter):
    rows = cache.load([painter.of("a"), painter.of("b", [2, 5, 7]), painter.of("c")], SHAPE)
    everything = np.concatenate(
        [truth("a", range(10)), truth("b", [2, 5, 7]), truth("c", range(10))]
    )
    assert rows.shape == everything.shape and len(rows) == 23
    numbers = np.array([22, 0, 11, 11, 9, 10, 12, 13])
    assert np.array_equal(rows[numbers], everything[numbers])
    assert np.array_equal(rows[8:15], everything[8:15])
    assert np.array_equal(rows[20:99], everything[20:])


def test_nothing_is_made_twice_and_a_whole_video_serves_any_of_its_rows(
    cache: Cache, painter: Painter
):
    cache.load([painter.of("a"), painter.of("b", [1, 3])], SHAPE)
    made = len(painter.made)
    again = cache.load([painter.of("a", [4, 6]), painter.of("b", [1, 3])], SHAPE)
    assert len(painter.made) == made == 12
    assert np.array_equal(again[:], np.concatenate([truth("a", [4, 6]), truth("b", [1, 3])]))
    cache.load([painter.of("b", [1, 4])], SHAPE)
    assert painter.made[made:] == [("b", 1), ("b", 4)]


def test_other_settings_are_other_files(cache: Cache, painter: Painter):
    wanted = painter.of("a")
    cache.load([wanted], SHAPE)
    other = Wanted("a", 10, wanted.rows, {"look": "whole"}, wanted.make)
    cache.load([other], SHAPE)
    assert len(painter.made) == 20


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 20)


def cut_in_the_header(path: Path) -> None:
    os.truncate(path, 50)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def rotten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("harm", [cut_short, cut_in_the_header, emptied, rotten, Path.unlink])
def test_what_is_damaged_is_made_again(
    cache: Cache, painter: Painter, harm: Callable[[Path], None]
):
    cache.load([painter.of("a"), painter.of("b")], SHAPE)
    [path] = cache.folder.glob("a/*")
    harm(path)
    rows = cache.load([painter.of("a"), painter.of("b")], SHAPE)
    assert np.array_equal(rows[:10], truth("a", range(10)))
    assert [video for video, _ in painter.made[20:]] == ["a"] * 10


def test_it_may_be_deleted_or_cut_while_it_is_read(cache: Cache, painter: Painter):
    rows = cache.load([painter.of("a"), painter.of("b", [2, 3])], SHAPE)
    cache.forget("a")
    cut_short(next(cache.folder.glob("b/*")))
    assert np.array_equal(rows[:], np.concatenate([truth("a", range(10)), truth("b", [2, 3])]))


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path, painter: Painter):
    cache = Cache(tmp_path, 3 * FILE_BYTES)
    for age, video in enumerate("cba"):
        cache.load([painter.of(video)], SHAPE)
        [path] = (tmp_path / video).iterdir()
        os.utime(path, (1000 + age, 1000 + age))
    cache.load([painter.of("c")], SHAPE)  # used just now
    cache.load([painter.of("d")], SHAPE)
    assert sorted(path.parent.name for path in tmp_path.glob("*/*")) == ["a", "c", "d"]
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= cache.most_bytes


def test_whole_videos_make_room_for_the_rows_that_are_wanted(tmp_path: Path, painter: Painter):
    cache = Cache(tmp_path, 5 * FILE_BYTES)
    cache.load([painter.of(video) for video in "abcde"], SHAPE)
    rows = cache.load([painter.of(video, [0, 9]) for video in "abcdefgh"], SHAPE)
    assert np.array_equal(rows[2:4], truth("b", [0, 9]))
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*")) <= cache.most_bytes


def test_more_than_it_may_hold_is_refused_in_one_sentence(tmp_path: Path, painter: Painter):
    with pytest.raises(ValueError, match=r"^The pictures .* set AELA_CACHE_GB higher\.$"):
        Cache(tmp_path, 100).load([painter.of("a")], SHAPE)
    assert painter.made == []


def test_a_failure_leaves_nothing_half_made(cache: Cache):
    def fail(numbers: np.ndarray) -> np.ndarray:
        if numbers[0]:
            raise RuntimeError("no more")
        return truth("a", numbers)

    with pytest.raises(RuntimeError, match="no more"):
        cache.load([Wanted("a", 100, np.arange(100), {}, fail)], SHAPE)
    assert list((cache.folder / "a").iterdir()) == []


def test_a_thousand_videos_need_few_open_files(cache: Cache, painter: Painter):
    wanted = [painter.of(f"video{number}", [0, 1], 2) for number in range(1000)]
    rows = cache.load(wanted, SHAPE)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
        assert isinstance(rows, Rows) and rows[:].shape == (2000, *SHAPE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert np.array_equal(rows[np.array([1998])], truth("video999", [0]))


def test_where_it_lies(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert Cache.of(home).folder == Path(str(home.root)) / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache.of(Home(UPath("memory://bucket/home"))).folder == tmp_path / "xdg" / "aela"
    monkeypatch.setenv("AELA_CACHE", str(tmp_path / "fast"))
    monkeypatch.setenv("AELA_CACHE_GB", "0.5")
    cache = Cache.of(home)
    assert (cache.folder, cache.most_bytes) == (tmp_path / "fast", 500_000_000)
    monkeypatch.setenv("AELA_CACHE_GB", "much")
    with pytest.raises(ValueError, match="AELA_CACHE_GB must be a number"):
        Cache.of(home)
