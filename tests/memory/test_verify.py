"""Verification finds what was changed, lost or left half-written, and nothing else."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.forget import forget
from aela.mimicry.verify import kinds
from aela.storage import Home, read_json, write_json

Life = Any  # the home that the fixture `life` makes


def problems(home: Home) -> list[str]:
    return [said for kind in kinds(home) for thing in kind.things for said in kind.problems(thing)]


def flip(path: Any, at: int = -1) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def change(path: Any, **values: Any) -> None:
    write_json(path, {**read_json(path), **values})


def test_a_sound_home_has_no_problems_also_after_forgetting(life: Life):
    checked = {kind.name: len(kind.things) for kind in kinds(life.home)}
    assert checked == {
        "video": 3,
        "file": 3,
        "rows": 3,
        "manifest": 1,
        "forgotten video": 0,
        "unfinished file": 0,
        "checkpoint": 4,
        "embeddings": 6,
        "generation": 1,
        "predictions": 1,
    }
    assert problems(life.home) == []
    forget(life.home, life.cup)
    assert problems(life.home) == []
    life.remember("cup", "learn")
    life.learn()
    assert problems(life.home) == []


def test_a_file_without_a_usual_end_is_as_good_as_others(home: Home, tmp_path: Path):
    file = UPath(tmp_path / "12.24.2024 (beach)")
    file.write_bytes(b"waves")
    video = videos.take_in(home, file, "watch", move=True)
    assert videos.media_of(home, video).name == video.video
    assert problems(home) == []


def lost_file(life: Life) -> str:
    videos.media_of(life.home, videos.find(life.home, life.cup)).unlink()
    return f"The file of {life.cup} is gone"


def changed_file(life: Life) -> str:
    flip(videos.media_of(life.home, videos.find(life.home, life.cup)))
    return f"is not the file that was taken in as {life.cup}"


def grown_file(life: Life) -> str:
    file = videos.media_of(life.home, videos.find(life.home, life.cup))
    file.write_bytes(file.read_bytes() + b"!")
    return f"is not the file that was taken in as {life.cup}"


def file_of_nobody(life: Life) -> str:
    (life.home.videos / "files" / f"{life.cup}.mkv").write_bytes(b"video")
    return f"{life.cup}.mkv belongs to no video"


def exchanged_rows(life: Life) -> str:
    life.home.clips(life.cup).write_bytes(life.home.clips(life.watched).read_bytes())
    life.home.frames(life.cup).write_bytes(life.home.frames(life.watched).read_bytes())
    return f"The rows of {life.cup} are not those that were written"


def cut_rows(life: Life) -> str:
    path = life.home.frames(life.cup)
    path.write_bytes(path.read_bytes()[:-100])
    return f"{life.cup} (rows) cannot be read"


def lost_rows(life: Life) -> str:
    life.home.clips(life.cup).unlink()
    return f"{life.cup} (rows) cannot be read: Memory holds nothing of"


def rows_without_an_end(life: Life) -> str:
    (life.home.index / f"{life.watched}.json").unlink()
    return f"The rows of {life.watched} were not written to the end"


def rows_of_nobody(life: Life) -> str:
    (life.home.videos / f"{life.watched}.json").unlink()
    return f"Memory holds rows of {life.watched}, which is no video"


def changed_manifest(life: Life) -> str:
    path = life.home.manifest(life.generation.manifest)
    entries = read_json(path)
    entries[0]["frames"] += 1
    write_json(path, entries)
    return "it no longer has the hash it names"


def half_a_manifest(life: Life) -> str:
    path = life.home.manifest(life.generation.manifest)
    path.write_bytes(path.read_bytes()[:-9])
    return "(manifest) cannot be read"


def changed_weights(life: Life) -> str:
    flip(life.home.models("associator") / f"{life.generation.associator}.safetensors")
    return f"checkpoint models/associator/{life.generation.associator} was changed"


def changed_card(life: Life) -> str:
    change(life.home.models("associator") / f"{life.generation.associator}.json", seed=9)
    return f"checkpoint models/associator/{life.generation.associator} was changed"


def lost_weights(life: Life) -> str:
    (life.home.models("associator") / f"{life.generation.associator}.safetensors").unlink()
    return "lacks its weights"


def lost_card(life: Life) -> str:
    (life.home.models("associator") / f"{life.generation.associator}.json").unlink()
    return "lacks its card"


def embeddings_of_other_rows(life: Life) -> str:
    cup, pen = (
        life.home.embeddings(life.generation.image_encoder, v) for v in (life.cup, life.pen)
    )
    cup.write_bytes(pen.read_bytes())
    return "was made of other rows than memory holds"


def changed_embeddings(life: Life) -> str:
    flip(life.home.embeddings(life.generation.word_autoencoder, life.cup), 60)
    return "(embeddings) cannot be read"


def changed_predictions(life: Life) -> str:
    flip(life.home.predictions(life.watched, life.generation.sha), 60)
    return "(predictions) cannot be read"


def changed_rejections(life: Life) -> str:
    flip(life.home.rejections(life.cup), 60)
    return f"{life.cup} (rows) cannot be read"


def changed_generation(life: Life) -> str:
    change(life.home.generations / f"{life.generation.sha}.json", threshold=0.9)
    return f"The generation {life.generation.sha} was changed"


def lost_sound(life: Life) -> str:
    path = life.home.predictions(life.watched, life.generation.sha)
    (path.with_suffix("") / "00000.flac").unlink()
    return "1 sounds of"


def half_written(life: Life) -> str:
    path = Path(str(life.home.frames(life.cup).parent / ".cup.parquet.abc"))
    path.write_bytes(b"half")
    os.utime(path, (0, 0))
    return "was left half-written"


def half_forgotten(life: Life) -> str:
    def kill(name: str) -> None:
        if name == "embeddings":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forget(life.home, life.cup, kill)
    return f"{life.cup} was not forgotten to the end; run `aela memory forget {life.cup}` again"


HARM = [
    *(lost_file, changed_file, grown_file, file_of_nobody, exchanged_rows, cut_rows, lost_rows),
    *(rows_without_an_end, rows_of_nobody, changed_manifest, half_a_manifest, changed_weights),
    *(changed_card, lost_weights, lost_card, embeddings_of_other_rows, changed_generation),
    *(lost_sound, half_written, half_forgotten),
    *(changed_embeddings, changed_predictions, changed_rejections),
]


@pytest.mark.parametrize("harm", HARM)
def test_each_harm_is_told_in_a_sentence(life: Life, harm: Callable[[Life], str]):
    says = harm(life)
    found = problems(life.home)
    assert any(says in problem for problem in found), found
    assert all(problem.count("\n") == 0 for problem in found)


def test_rows_are_hashed_as_they_are_stored(life: Life):
    """Levels and the like are narrowed when they are written; the hash must not depend on it."""
    for entry in store.remembered(life.home):
        assert store.recomputed(life.home, entry.video) == entry.content
    assert manifests.take(life.home).sha == life.generation.manifest
