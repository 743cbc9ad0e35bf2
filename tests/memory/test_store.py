import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from upath import UPath

from aela.capture import Clip, Frame, Rejection
from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.manifest import ChangedMemory, UnknownManifest
from aela.memory.videos import UnknownVideo, Video
from aela.storage import Home

RATE = 44_100


def _jpeg(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 24), (value, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def _frame(time_s: float, value: int = 9) -> Frame:
    return Frame(time_s, _jpeg(value), 32, 24, 1.0, np.zeros((2, 12, 16, 3), np.uint8))


def _clip(start_s: float) -> Clip:
    tone = np.sin(np.arange(RATE) / 20).astype(np.float32) / 2
    return Clip(start_s, start_s + 0.5, tone, 0.1, -20.0, 25.0)


def _video(home: Home, name: str, role: videos.Role = "learn") -> Video:
    file = UPath(home.root / f"{name}.bin")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(name.encode())
    return videos.take_in(home, file, role, move=True)


def test_what_is_remembered_reads_back_as_it_was(home: Home):
    video = _video(home, "cup")
    senses = [_frame(0.5), _clip(1.0), Rejection("clip", 2.0, 2.1, "knock", 0.1), _frame(1.5)]
    entry = store.remember(home, video, iter(senses))
    assert (entry.frames, entry.clips, entry.clip_rejections) == (2, 1, {"knock": 1})
    frames = store.read_frames(home, video.video).to_pylist()
    assert [f["time_s"] for f in frames] == [0.5, 1.5]
    assert frames[0]["jpeg"] == _jpeg(9)
    [clip] = store.read_clips(home, video.video).to_pylist()
    np.testing.assert_allclose(store.from_flac(clip["flac"]), _clip(1.0).samples, atol=1e-4)
    assert store.read_rejections(home, video.video)["reason"].to_pylist() == ["knock"]


def test_one_row_can_be_read_alone(home: Home):
    video = _video(home, "cup")
    store.remember(home, video, [_frame(float(i), i) for i in range(40)])
    row = store.read_row(home, video.video, "frame", 37)
    assert (row["time_s"], row["jpeg"]) == (37.0, _jpeg(37))
    with pytest.raises(IndexError):
        store.read_row(home, video.video, "frame", 40)


def test_a_video_of_nothing_is_remembered_as_empty(home: Home):
    entry = store.remember(home, _video(home, "blank"), [])
    assert (entry.frames, entry.clips) == (0, 0)
    assert len(store.read_frames(home, entry.video)) == 0


def test_an_interrupted_capture_leaves_nothing(home: Home):
    video = _video(home, "cup")

    def breaks():
        yield _frame(0.0)
        raise OSError("the disk went away")

    with pytest.raises(OSError):
        store.remember(home, video, breaks())
    assert store.remembered(home) == []
    assert [p.name for p in home.root.rglob("*") if "memory" in p.parts and p.is_file()] == []
    with pytest.raises(UnknownVideo):
        store.read_frames(home, video.video)


def test_a_capture_anew_that_is_interrupted_at_the_end_leaves_no_mixture(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    """Tables take their places one after the other."""
    video = _video(home, "cup")
    store.remember(home, video, [_frame(0.0), _clip(0.0)])
    replace = Path.replace

    def fails_on_frames(self: Path, target: Path) -> Path:
        if "frames" in Path(target).parts:
            raise OSError("the disk is full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails_on_frames)
    with pytest.raises(OSError, match="full"):
        store.remember(home, video, [_frame(1.0), _clip(1.0)])
    assert store.remembered(home) == []
    monkeypatch.undo()
    store.remember(home, video, [_frame(1.0), _clip(1.0)])
    [entry] = store.remembered(home)
    assert store.read_clips(home, entry.video)["start_s"].to_pylist() == [1.0]


def test_the_manifest_names_exactly_what_is_learned_from(home: Home):
    cup, pen = _video(home, "cup"), _video(home, "pen")
    store.remember(home, cup, [_frame(0.0), _clip(0.0)])
    before = manifests.take(home)
    assert manifests.take(home).sha == before.sha
    store.remember(home, _video(home, "test", "watch"), [_frame(0.0)])
    assert manifests.take(home).sha == before.sha
    store.remember(home, pen, [_frame(0.0)])
    after = manifests.take(home)
    assert after.sha != before.sha
    assert (after.frames, after.clips) == (2, 1)
    assert manifests.read(home, before.sha) == before
    with pytest.raises(UnknownManifest):
        manifests.read(home, "nothing")


def test_watching_what_was_learned_does_not_unlearn_it(home: Home):
    cup = _video(home, "cup")
    store.remember(home, cup, [_frame(0.0)])
    before = manifests.take(home).sha
    _video(home, "cup", "watch")
    assert manifests.take(home).sha == before
    assert [e.video for e in store.remembered(home, "watch")] == [cup.video]


def test_what_was_captured_anew_is_not_mixed_with_what_was_learned(home: Home):
    cup = _video(home, "cup")
    store.remember(home, cup, [_frame(0.0)])
    manifest = manifests.take(home)
    assert [len(table) for _, table in manifests.rows(home, manifest, "frame")] == [1]
    store.remember(home, cup, [_frame(0.0), _frame(1.0)])
    with pytest.raises(ChangedMemory, match="anew"):
        list(manifests.rows(home, manifest, "frame"))


def test_other_content_makes_another_manifest(home: Home):
    cup = _video(home, "cup")
    store.remember(home, cup, [_frame(0.0)])
    before = manifests.take(home).sha
    store.remember(home, cup, [_frame(0.0, 200)])
    assert manifests.take(home).sha != before
