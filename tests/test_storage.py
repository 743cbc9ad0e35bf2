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
