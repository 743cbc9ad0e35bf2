"""Memory as plain files."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from aela.memory import store
from aela.memory.export import export

Life = Any  # the home that the fixture `life` makes


def test_frames_and_clips_are_exactly_those_remembered(life: Life, tmp_path: Path):
    folder = tmp_path / "deep" / "files"
    entries = [e for e in store.remembered(life.home) if e.video != life.watched]
    assert export(life.home, entries, folder) == 10
    with (folder / "index.csv").open() as file:
        index = list(csv.DictReader(file))
    assert {line["file"] for line in index} | {"index.csv"} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    }
    frame = next(line for line in index if line["video"] == life.pen and line["start_s"] == "2.0")
    assert frame["file"] == f"{life.pen}/frames/00002_2.00s.jpg"
    jpeg = (folder / frame["file"]).read_bytes()
    assert jpeg == store.read_row(life.home, life.pen, "frame", 2)["jpeg"]
    assert Image.open(io.BytesIO(jpeg)).size == (int(frame["width"]), int(frame["height"]))
    sounds = [line for line in index if line["sense"] == "clip" and line["video"] == life.cup]
    assert [float(line["start_s"]) for line in sounds] == [0.1, 2.1]
    samples, rate = soundfile.read(folder / sounds[1]["file"], dtype="float32")
    assert rate == 44_100
    flac = store.read_row(life.home, life.cup, "clip", 1)["flac"]
    assert np.array_equal(samples, store.from_flac(flac))


def test_a_folder_in_use_is_left_alone(life: Life, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"^There is something in .* empty folder\.$"):
        export(life.home, store.remembered(life.home), tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["mine.txt"]


def test_an_interrupted_export_leaves_nothing(life: Life, tmp_path: Path):
    def stop(video: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(life.home, store.remembered(life.home), tmp_path / "out" / "files", stop)
    assert list((tmp_path / "out").iterdir()) == []
