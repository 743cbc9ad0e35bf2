import os
import signal
from pathlib import Path

import pytest
from upath import UPath

from aela.storage import Home, atomic, write_bytes


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path) -> UPath:
    return UPath(tmp_path) if request.param == "local" else UPath(f"memory://{tmp_path.name}")


def test_a_write_appears_whole(root: UPath):
    write_bytes(root / "a" / "b.bin", b"whole")
    assert (root / "a" / "b.bin").read_bytes() == b"whole"
    assert [p.name for p in (root / "a").iterdir()] == ["b.bin"]


def test_an_interrupted_write_leaves_the_old_file(root: UPath):
    path = root / "b.bin"
    write_bytes(path, b"old")
    with pytest.raises(RuntimeError), atomic(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in root.iterdir()] == ["b.bin"]


def test_the_home_is_chosen_by_argument_then_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AELA_HOME", str(tmp_path / "env"))
    assert Home.at().root == UPath(tmp_path / "env")
    assert Home.at(tmp_path / "arg").root == UPath(tmp_path / "arg")
    monkeypatch.delenv("AELA_HOME")
    monkeypatch.chdir(tmp_path)
    assert Home.at().root == UPath(tmp_path / "data")
    assert Home.at("memory://bucket/aela").root.protocol == "memory"


def test_what_a_killed_writer_left_is_used_up_by_the_next(tmp_path: Path):
    path = UPath(tmp_path / "b.bin")
    if (child := os.fork()) == 0:
        with atomic(path) as file:
            file.write(b"half" * 10_000)
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1 and not path.exists()
    write_bytes(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert [p.name for p in tmp_path.iterdir()] == ["b.bin"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path):
    path = UPath(tmp_path / "b.bin")
    with atomic(path) as first, atomic(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"  # which was finished last
    assert [p.name for p in tmp_path.iterdir()] == ["b.bin"]


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path):
    path = UPath(tmp_path / ("b" * 255))
    write_bytes(path, b"whole")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
