"""Videos of many containers, codecs and shapes, made for each test."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame

from aela.capture import SAMPLE_RATE_HZ, capture, probe
from tests.capture.media import clips, decoded, frames, room, scene, voice

SECONDS = 5
WORD_S = 1.5
WIDTH, HEIGHT = 160, 128


@dataclass(frozen=True)
class Kind:
    """How a video is written: five seconds of a picture that moves, and one word."""

    name: str
    codec: str | None = "libx264"
    pix_fmt: str = "yuv420p"
    fps: int = 15
    options: dict[str, str] = field(default_factory=dict)
    sound: str | None = "aac"
    rate_hz: int = 44_100
    layout: str = "mono"
    sound_from_s: float = 0.0


def write(folder: Path, kind: Kind) -> Path:
    path = folder / kind.name
    picture = scene(WIDTH + 60, HEIGHT)
    with av.open(str(path), "w") as container:
        seen = heard = None
        if kind.codec:
            seen: Any = container.add_stream(kind.codec, rate=kind.fps, options=kind.options)
            seen.bit_rate = 4_000_000
            seen.width, seen.height, seen.pix_fmt = WIDTH, HEIGHT, kind.pix_fmt
        if kind.sound:
            heard: Any = container.add_stream(kind.sound, rate=kind.rate_hz, layout=kind.layout)
            heard.bit_rate = 128_000
        if seen:
            for number in range(SECONDS * kind.fps):
                left = number * 60 // (SECONDS * kind.fps)
                view = np.ascontiguousarray(picture[:, left : left + WIDTH])
                container.mux(seen.encode(VideoFrame.from_ndarray(view, "rgb24")))
            container.mux(seen.encode(None))
        if heard:
            samples = room(SECONDS - kind.sound_from_s, {WORD_S - kind.sound_from_s: voice(0.6)})
            sound = AudioFrame.from_ndarray(samples[None], "fltp", "mono")
            sound.sample_rate, sound.time_base = SAMPLE_RATE_HZ, Fraction(1, SAMPLE_RATE_HZ)
            sound.pts = 0
            size = heard.codec_context.frame_size or None
            to = AudioResampler(heard.format, kind.layout, kind.rate_hz, frame_size=size)
            for piece in [*to.resample(sound), *to.resample(None)]:
                piece.pts = (piece.pts or 0) + round(kind.sound_from_s * kind.rate_hz)
                container.mux(heard.encode(piece))
            container.mux(heard.encode(None))
    return path


X264 = {"preset": "ultrafast", "threads": "1"}
KINDS = [
    Kind("mp4.mp4"),
    Kind("h265-10-bit.mp4", "libx265", "yuv420p10le", options={"preset": "ultrafast"}),
    Kind("av1.mp4", "libsvtav1", options={"preset": "13"}, sound="libopus", rate_hz=48_000),
    Kind("matroska-flac.mkv", sound="flac", rate_hz=96_000, layout="stereo"),
    Kind("vp9.webm", "libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"},
         sound="libopus", rate_hz=48_000, layout="stereo"),
    Kind("prores-10-bit.mov", "prores", "yuv422p10le", sound="pcm_s16le", rate_hz=48_000),
    Kind("mpeg4.avi", "mpeg4", sound="libmp3lame", rate_hz=22_050),
    Kind("motion-jpeg.avi", "mjpeg", "yuvj420p", sound="pcm_s16le", rate_hz=16_000),
    Kind("mpeg2.ts", "mpeg2video", fps=25, sound="ac3", rate_hz=48_000, layout="5.1"),
    Kind("windows-media.asf", "wmv2", sound="wmav2", layout="stereo"),
    Kind("flash.flv", "flv"),
    Kind("surround.mp4", rate_hz=48_000, layout="5.1"),
    Kind("telephone.mkv", sound="pcm_s16le", rate_hz=8_000),
    Kind("four-four-four.mkv", "libx264rgb", "rgb24"),
    Kind("late-sound.mp4", sound_from_s=1.0),
    Kind("only-b-pictures-between.mp4", fps=30, options={"bf": "8", "g": "60"}),
    Kind("groups-that-lean-on-each-other.mp4", fps=30,
         options={"bf": "3", "g": "20", "x264-params": "open-gop=1:scenecut=0"}),
    Kind("key-pictures-close.mp4", fps=30, options={"g": "10"}),
    Kind("refreshed-bit-by-bit.mp4", options={"g": "15", "intra-refresh": "1"}),
    Kind("animation.gif", "gif", "rgb8", fps=10, sound=None),
    Kind("sound-alone.wav", None, sound="pcm_s16le", rate_hz=32_000),
    Kind("sound-alone.mp3", None, sound="libmp3lame", layout="stereo"),
    Kind("sound-alone.ogg", None, sound="libopus", rate_hz=48_000),
    Kind("picture-alone.mkv", sound=None),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_pictures_and_words_of_any_kind_of_file_are_kept(kind: Kind, tmp_path: Path) -> None:
    path = write(tmp_path, kind)
    found = list(capture(path))
    info = probe(path)
    assert (info.has_picture, info.has_sound) == (bool(kind.codec), bool(kind.sound))

    kept = frames(found)
    assert [int(frame.time_s) for frame in kept][:SECONDS] == list(
        range(SECONDS if kind.codec else 0)
    )
    for frame in kept:
        left = round(frame.time_s / SECONDS * 60)
        shown = scene(WIDTH + 60, HEIGHT)[:, left : left + WIDTH].astype(float)
        assert np.abs(decoded(frame).astype(float) - shown).mean() < 25  # of 255
        assert not (frame.neighbours[0] == frame.neighbours[1]).all()

    heard = clips(found)
    assert len(heard) == bool(kind.sound)
    for clip in heard:
        assert clip.start_s == pytest.approx(WORD_S, abs=0.12)
        assert clip.end_s == pytest.approx(WORD_S + 0.6, abs=0.12)


def test_what_is_kept_does_not_depend_on_the_number_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = (
        Kind("groups.mkv", fps=30, options={**X264, "g": "20"}),
        Kind("keys.mkv", fps=30, options={**X264, "g": "5"}),
    )
    for kind in kinds:
        path, kept = write(tmp_path, kind), []
        for cores in (1, 2, 8):
            monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
            kept.append(
                [(f.time_s, f.jpeg, f.neighbours.tobytes()) for f in frames(list(capture(path)))]
            )
        assert kept[0] == kept[1] == kept[2]


def test_an_edit_list_that_skips_the_start_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path, Kind("whole.mp4", options={"g": "15", "bf": "0"}))
    cut = tmp_path / "cut.mp4"
    # Copying from the middle makes a track whose edit list hides what comes before its start.
    with av.open(str(path)) as source, av.open(str(cut), "w") as target:
        streams = {stream: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.pts is None or packet.dts is None:
                continue
            shift = round(1 / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = streams[packet.stream]
            if packet.pts >= 0 or packet.stream.type == "video":
                target.mux(packet)
    found = list(capture(cut))
    assert len(frames(found)) == SECONDS - 1
    assert [clip.start_s for clip in clips(found)] == pytest.approx([WORD_S - 1], abs=0.12)
