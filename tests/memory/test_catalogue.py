"""What many small files say is read once, and again only when it changed."""

import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from upath import UPath

from aela.memory import catalogue, store, videos
from aela.memory import manifest as manifests
from aela.memory.forget import forget
from aela.storage import Home, write_json

Life = Any  # the home that the fixture `life` makes

ENTRIES = 200  # enough for a snapshot


@pytest.fixture
def folder(home: Home) -> UPath:
    for number in range(ENTRIES):
        write_json(home.index / f"video{number}.json", {"frames": number})
    return home.index


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were opened through the catalogue since the start."""
    names: list[str] = []
    local = type(fsspec.filesystem("file"))
    cat_file = local.cat_file

    def recorded(self: object, path: str, *args: object, **kwargs: object) -> bytes:
        names.append(Path(path).name)
        return cat_file(self, path, *args, **kwargs)

    monkeypatch.setattr(local, "cat_file", recorded)
    return names


def _new_process() -> None:
    catalogue._held.clear()


def _frames(home: Home, folder: UPath) -> dict[str, int]:
    return {stem: value["frames"] for stem, value in catalogue.read(home, folder).items()}


WHOLE = {f"video{number}": number for number in range(ENTRIES)}


def test_only_what_is_new_is_opened(home: Home, folder: UPath, opened: list[str]):
    assert _frames(home, folder) == WHOLE
    assert len(opened) == ENTRIES
    write_json(folder / "cup.json", {"frames": 7})
    (folder / ".cup.json.part").write_bytes(b"{")
    (folder / "notes.txt").write_bytes(b"no entry")
    assert _frames(home, folder) == {**WHOLE, "cup": 7}
    assert opened[ENTRIES:] == ["cup.json"]


def test_the_next_process_starts_from_the_snapshot(home: Home, folder: UPath, opened: list[str]):
    catalogue.read(home, folder)
    _new_process()
    write_json(folder / "cup.json", {"frames": 7})
    (folder / "video3.json").unlink()
    left = {stem: frames for stem, frames in WHOLE.items() if stem != "video3"}
    assert _frames(home, folder) == {**left, "cup": 7}
    assert opened[ENTRIES:] == ["cup.json"]


def test_a_file_written_anew_is_read_anew(home: Home, folder: UPath):
    catalogue.read(home, folder)
    path = Path(str(folder / "video1.json"))
    before = path.stat()
    write_json(folder / "video1.json", {"frames": 9})  # as many bytes ...
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # ... of the same time
    assert _frames(home, folder)["video1"] == 9
    _new_process()
    assert _frames(home, folder)["video1"] == 9


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"7", b'{"video1": 3}', b'{"video1": ["old", {"frames": 8}]}', None],
)
def test_a_snapshot_that_is_damaged_or_gone_is_made_anew(
    home: Home, folder: UPath, opened: list[str], damage: bytes | None
):
    catalogue.read(home, folder)
    [snapshot] = home.catalogue.iterdir()
    whole = json.loads(snapshot.read_bytes())
    if damage is None:
        snapshot.unlink()
    else:
        snapshot.write_bytes(damage)
    _new_process()
    assert _frames(home, folder) == WHOLE
    assert json.loads(snapshot.read_bytes()) == whole


def test_processes_that_write_at_once_do_no_harm(home: Home, folder: UPath):
    catalogue.read(home, folder)
    [snapshot] = home.catalogue.iterdir()
    older = snapshot.read_bytes()
    for number in range(ENTRIES):
        write_json(folder / f"more{number}.json", {"frames": number})
    catalogue.read(home, folder)
    snapshot.write_bytes(older)  # Another process, which had not seen the new ones, wrote last.
    _new_process()
    assert _frames(home, folder) == WHOLE | {f"more{n}": n for n in range(ENTRIES)}


def test_a_damaged_record_is_named(home: Home, folder: UPath):
    (folder / "video5.json").write_bytes(b"{")
    with pytest.raises(ValueError, match=r"video5\.json is damaged"):
        catalogue.read(home, folder)


def test_a_home_that_cannot_be_written_to_can_be_read(home: Home, folder: UPath):
    home.catalogue.write_bytes(b"")  # in the way of the snapshots' folder
    assert _frames(home, folder) == WHOLE


def test_nothing_is_no_folder(home: Home):
    assert catalogue.read(home, home.index) == {} == catalogue.read(home, home.videos)
    assert catalogue.names(home.index) == [] == catalogue.listing(home.inbox("learn"))


def test_an_object_store_is_listed_too(tmp_path: Path):
    home = Home.at(f"memory://{tmp_path.name}")
    for number in range(3):
        write_json(home.index / f"video{number}.json", {"frames": number})
    assert _frames(home, home.index) == {"video0": 0, "video1": 1, "video2": 2}
    write_json(home.index / "video1.json", {"frames": 1000})
    assert _frames(home, home.index)["video1"] == 1000
    assert sorted(catalogue.names(home.index)) == ["video0", "video1", "video2"]


def test_a_forgotten_video_is_in_no_snapshot(life: Life, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalogue, "MOST_MISSING", 0)
    _new_process()
    store.remembered(life.home)
    assert any(life.cup in path.read_text() for path in life.home.catalogue.iterdir())
    forget(life.home, life.cup)
    assert not any(life.cup in path.read_text() for path in life.home.catalogue.iterdir())


def test_a_manifest_reads_only_what_is_new(life: Life, opened: list[str]):
    before = manifests.of_now(life.home)
    opened.clear()
    video = life.remember("comb", "learn")
    after = manifests.of_now(life.home)
    assert {e.video for e in after.entries} - {e.video for e in before.entries} == {video}
    assert opened == [f"{video}.json"] * 2  # its record and its index entry


def test_records_of_the_first_homes_are_read(home: Home):
    write_json(
        home.videos / "cup-01234567.json",
        {
            "video": "cup-01234567",
            "roles": ["learn"],
            "name": "cup.mp4",
            "file": "videos/files/cup-01234567.mp4",
            "sha256": "01234567",
            "bytes": 5,
            "added": "2026-01-01",
        },
    )
    [video] = videos.known(home)
    assert video.names == ("cup.mp4",) and video == videos.find(home, "cup-01234567")
