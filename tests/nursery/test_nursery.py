import hashlib
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from aela.nursery import THINGS, NurserySettings, VoiceError, make_nursery, voice
from aela.nursery.script import plan_videos

SMALL = NurserySettings(
    things=2, train_seconds=6, test_segment_seconds=5, width=240, height=180, fps=10
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nursery")
    told = []
    path = make_nursery(folder, SMALL, lambda *progress: told.append(progress))
    return folder, json.loads(path.read_text()), told


def decode(path: Path):
    """Frames (n, height, width, 3) and mono samples of a video file, placed by their times."""
    with av.open(str(path), mode="r") as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        frames, pieces = [], []
        for frame in container.decode(video, audio):
            if isinstance(frame, av.VideoFrame):
                frames.append(frame.to_ndarray(format="rgb24"))
            elif isinstance(frame, av.AudioFrame):
                assert frame.time is not None
                pieces.append((round(frame.time * 44100), frame.to_ndarray()[0]))
    sound = np.zeros(max(at + len(piece) for at, piece in pieces), np.float32)
    for at, piece in pieces:
        if at >= 0:
            sound[at : at + len(piece)] = piece
    return np.stack(frames), sound


def level_db(sound, start, end):
    part = sound[round(start * 44100) : round(end * 44100)]
    return 10 * np.log10(np.mean(part**2) + 1e-12)


def test_labels_name_the_files_that_are_there(made):
    folder, labels, told = made
    assert {v["file"] for v in labels["videos"]} == {
        "train/acorn_a.mp4",
        "train/acorn_b.mp4",
        "train/spoon_a.mp4",
        "train/spoon_b.mp4",
        "test/test_mixed.mp4",
    }
    on_disk = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert on_disk == sorted(["labels.json", *(v["file"] for v in labels["videos"])])
    assert labels["pairs"] == {"acorn": "acorn", "spoon": "spoon"}
    assert told[-1][1:] == (5, 5)


def test_segments_tile_every_video_and_words_fall_inside_them(made):
    _, labels, _ = made
    for video in labels["videos"]:
        ends = [0.0] + [s["end"] for s in video["segments"]]
        assert [s["start"] for s in video["segments"]] == ends[:-1]
        assert ends[-1] == pytest.approx(video["duration"], abs=0.01)
        spoken = [(u["start"], u["end"]) for u in video["utterances"]]
        assert all(a[1] < b[0] for a, b in pairwise(spoken))
        for u in video["utterances"]:
            inside = [
                s for s in video["segments"] if s["start"] <= u["start"] < u["end"] < s["end"]
            ]
            assert [s["word"] for s in inside] == [u["word"]]
        for d in video["disturbances"]:
            assert all(d["end"] < a or d["start"] > b for a, b in spoken)


def test_the_test_shows_everything_it_should_and_speaks_at_the_end(made):
    _, labels, _ = made
    (mixed,) = [v for v in labels["videos"] if v["file"] == "test/test_mixed.mp4"]
    kinds = [(s["kind"], s["object"], s["occluded"]) for s in mixed["segments"]]
    for thing in labels["pairs"]:
        assert ("known", thing, False) in kinds
        assert ("known", thing, True) in kinds
    for kind in ("background", "hand"):
        assert (kind, None, False) in kinds
    unknown = {s["object"] for s in mixed["segments"] if s["kind"] == "unknown_object"}
    assert unknown == set(labels["unknown_objects"])
    for s in mixed["segments"]:
        said = [u for u in mixed["utterances"] if s["start"] <= u["start"] < s["end"]]
        if s["kind"] != "known":
            assert not said
            continue
        assert 1 <= len(said) <= 2
        assert s["end"] - said[-1]["end"] < 0.6
        assert said[0]["start"] - s["start"] > 1.0


def test_videos_decode_and_words_are_audible_where_labelled(made):
    folder, labels, _ = made
    for video in labels["videos"]:
        frames, sound = decode(folder / video["file"])
        assert frames.shape[1:] == (SMALL.height, SMALL.width, 3)
        assert len(frames) == pytest.approx(video["duration"] * SMALL.fps, abs=1)
        assert len(sound) / 44100 == pytest.approx(video["duration"], abs=0.1)
        loud = [(x["start"], x["end"]) for x in video["utterances"] + video["disturbances"]]
        quiet = np.ones(len(sound), bool)
        for start, end in loud:
            quiet[round((start - 0.05) * 44100) : round((end + 0.3) * 44100)] = False
        noise = 10 * np.log10(np.mean(sound[quiet] ** 2))
        for u in video["utterances"]:
            above = level_db(sound, u["start"], u["end"]) - noise
            assert above == pytest.approx(video["snr_db"] + u["level_db"], abs=3)
            # The word begins and ends where the label says, to a few hundredths of a second.
            assert level_db(sound, u["start"] - 0.15, u["start"] - 0.03) < noise + 6
            assert level_db(sound, u["start"], u["start"] + 0.08) > noise + 6


def test_thing_moves_through_its_box_and_blur_is_seen(made):
    folder, labels, _ = made
    video = labels["videos"][0]
    frames, _ = decode(folder / video["file"])
    grey = frames.astype(np.float32).mean(axis=3)
    assert np.abs(np.diff(grey, axis=0)).mean() > 1  # never a still picture
    sharpness = np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    times = np.arange(len(frames)) / SMALL.fps
    blurred = np.zeros(len(times), bool)
    for start, end in video["blur_intervals"]:
        blurred |= (times >= start) & (times <= end)
    assert 0 < blurred.sum() < len(times) / 2
    assert sharpness[blurred].max() < np.median(sharpness[~blurred])
    assert len(video["boxes"]) == round(video["duration"])
    for _, x, y, w, h in video["boxes"]:
        assert x >= 0
        assert y >= 0
        assert x + w <= SMALL.width
        assert y + h <= SMALL.height
        assert 0.25 * SMALL.height < max(w, h)


def test_same_seed_gives_the_same_files(made, tmp_path):
    folder, labels, _ = made

    def digests(root: Path):
        return {
            v["file"]: hashlib.sha256((root / v["file"]).read_bytes()).hexdigest()
            for v in labels["videos"]
        }

    again = make_nursery(tmp_path / "again", SMALL)
    assert json.loads(again.read_text()) == labels
    assert digests(tmp_path / "again") == digests(folder)


def test_another_seed_gives_other_words_and_views():
    def told(seed):
        return [plan.scenes for plan in plan_videos(replace(SMALL, seed=seed))]

    assert told(0) == told(0)
    assert all(a != b for a, b in zip(told(0), told(1), strict=True))


def test_no_room_gives_the_thing_away():
    rooms_of: dict[str, set[str]] = {}
    for plan in plan_videos(NurserySettings(things=len(THINGS))):
        if plan.file.startswith("train/"):
            (scene,) = plan.scenes
            assert scene.thing is not None
            rooms_of.setdefault(scene.thing.name, set()).add(scene.room.name)
    assert all(len(rooms) == 2 for rooms in rooms_of.values())
    hosted = [
        sum(room in rooms for rooms in rooms_of.values()) for room in set.union(*rooms_of.values())
    ]
    assert min(hosted) >= 2


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"things": 1}, "things must be between 2 and 12, not 1"),
        ({"things": 99}, "things must be between 2 and 12, not 99"),
        ({"train_seconds": 1.0}, "train_seconds must be between 6 and 600"),
        ({"width": 481}, "width must be even"),
        ({"fps": 0}, "fps must be between 5 and 60"),
    ],
)
def test_bad_settings_say_what_is_wrong(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        NurserySettings(**wrong)


def test_a_folder_with_other_videos_is_refused(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "cat_a.mp4").touch()
    with pytest.raises(ValueError, match=r"cat_a\.mp4 is not part of this set"):
        make_nursery(tmp_path, SMALL)


def test_missing_voices_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(voice.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(VoiceError, match=r"pip install 'aela\[nursery\]'"):
        make_nursery(tmp_path, SMALL)


def test_an_unknown_voice_is_named():
    with pytest.raises(VoiceError, match="no voice 'xx-none'"):
        voice.speak([voice.Saying("spoon", "xx-none")])
