"""Damaged videos are read as far as they go, or refused in one sentence; nothing else happens."""

import importlib.util
import wave
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from aela.capture import Rejection, UnreadableVideo, capture

SEED, FILES = 0, 200


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """The benchmark that damages videos by the ten thousands."""
    path = Path(__file__).parents[2] / "benchmarks" / "fuzz_capture.py"
    spec = importlib.util.spec_from_file_location("fuzz_capture", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_damaged_videos_are_read_or_refused_in_one_sentence(fuzz: ModuleType, tmp_path: Path):
    names = ["h264-aac.mp4", "vp9-opus.webm", "mpeg4-mp3.avi", "mpeg2-mp2.ts", "flv1-mp3.flv"]
    names += ["picture.gif", "sound.flac", "sound.ogg"]
    seeds = {name: fuzz.make_seed(name) for name in names}
    came_of_it = {"read": 0, "refused": 0}
    for number in range(FILES):
        name, data = fuzz.damaged(seeds, SEED, number)
        path = tmp_path / f"{number}{Path(name).suffix}"
        path.write_bytes(data)
        found = fuzz.look(path)  # Raises on anything that cannot be.
        came_of_it[found["kind"]] += 1
        if found["kind"] == "refused":
            assert found["text"].endswith(".") and "\n" not in found["text"]
    assert min(came_of_it.values()) > FILES / 10


def test_a_video_of_flat_pictures_alone_has_no_sharp_frame(tmp_path: Path):
    path = tmp_path / "black.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(20):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    found = list(capture(path))
    assert found
    assert all(isinstance(item, Rejection) and item.reason == "blurry" for item in found)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_793_216, 1), (16_000, 257), (1, 1)])
def test_sound_that_nobody_can_listen_to_is_refused(tmp_path: Path, rate_hz: int, channels: int):
    path = tmp_path / "sound.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(bytes(2 * channels * 20_000))
    with pytest.raises(UnreadableVideo, match=r"neither pictures nor sound"):
        list(capture(path))
