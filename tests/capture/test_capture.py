"""The capture on small real media, made for each test."""

import re
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from aela.capture import (
    SAMPLE_RATE_HZ,
    CaptureSettings,
    Clip,
    Frame,
    Rejection,
    UnreadableVideo,
    capture,
    probe,
)
from aela.capture.hearing import WordFinder
from tests.capture.media import (
    RATE_HZ,
    beep,
    burst,
    clips,
    decoded,
    frames,
    knock,
    reasons,
    room,
    scene,
    smeared,
    voice,
)

MakeVideo = Callable[..., Path]


@pytest.fixture
def make_video(tmp_path: Path) -> MakeVideo:
    """Writes a video from pictures, uint8 RGB [h, w, 3], and mono samples."""

    def write(
        name: str = "video.mp4",
        pictures: list[np.ndarray] | None = None,
        samples: np.ndarray | None = None,
        fps: int = 15,
        times_s: list[float] | None = None,
        sound_from_s: float = 0.0,
        rotation: int = 0,
        codec: Literal["libx264", "mjpeg"] = "libx264",
        sound_codec: Literal["aac", "pcm_s16le", "flac"] = "aac",
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            picture_stream = sound_stream = None
            if pictures is not None:
                picture_stream = container.add_stream(codec, rate=fps)
                if codec == "mjpeg":
                    picture_stream.codec_context.color_range = ColorRange.JPEG
                height, width = (pictures[0].shape[:2]) if pictures else (64, 64)
                picture_stream.width, picture_stream.height = width, height
                picture_stream.pix_fmt = "yuv420p"
                picture_stream.codec_context.time_base = Fraction(1, 1000)
                if rotation:
                    picture_stream.set_display_rotation(rotation)
            if samples is not None:
                sound_stream = container.add_stream(sound_codec, rate=RATE_HZ, layout="mono")
            if picture_stream is not None:
                for number, picture in enumerate(pictures or []):
                    frame = VideoFrame.from_ndarray(picture, "rgb24")
                    frame.time_base = Fraction(1, 1000)
                    frame.pts = round(1000 * (times_s[number] if times_s else number / fps))
                    container.mux(picture_stream.encode(frame))
                container.mux(picture_stream.encode(None))
            if sound_stream is not None and samples is not None:
                kind = "s16" if sound_codec.startswith("pcm") else "fltp"
                data = (samples * 32767).astype(np.int16) if kind == "s16" else samples
                frame = av.AudioFrame.from_ndarray(data[None], kind, "mono")
                frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
                frame.pts = round(sound_from_s * RATE_HZ)
                if len(samples):
                    container.mux(sound_stream.encode(frame))
                container.mux(sound_stream.encode(None))
        return path

    return write


# Hearing


def test_finds_each_word_once_with_its_bounds(make_video: MakeVideo) -> None:
    words = {1.0: voice(0.6), 3.0: voice(0.45, 220), 3.0 + 0.45 + 0.6: voice(0.8, 100)}
    found = list(capture(make_video("words.wav", samples=room(7, words), sound_codec="pcm_s16le")))
    assert len(found) == 3
    for clip, (start_s, word) in zip(clips(found), words.items(), strict=True):
        assert clip.start_s == pytest.approx(start_s, abs=0.05)
        assert clip.end_s == pytest.approx(start_s + len(word) / RATE_HZ, abs=0.05)
        assert clip.snr_db > 15
        assert -30 < clip.level_db < -10


def test_a_clip_holds_the_word_where_it_says_and_is_padded_with_zeros(
    make_video: MakeVideo,
) -> None:
    samples = room(4, {1.0: voice(0.5)})
    (clip,) = capture(make_video("word.wav", samples=samples, sound_codec="pcm_s16le"))
    assert isinstance(clip, Clip)
    assert clip.samples.dtype == np.float32
    assert clip.samples.shape == (SAMPLE_RATE_HZ,)
    word_s = clip.end_s - clip.start_s
    from_clip = clip.samples[round(clip.word_start_s * RATE_HZ) :][: round(word_s * RATE_HZ)]
    from_file = samples[round(clip.start_s * RATE_HZ) :][: len(from_clip)]
    assert np.abs(from_clip - from_file).max() < 0.01
    rolled = clip.word_start_s + word_s + CaptureSettings().post_roll_s
    assert not clip.samples[round(rolled * RATE_HZ) + 1 :].any()
    assert clip.samples[: round(clip.word_start_s * RATE_HZ)].any()


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (knock(1), "knock"),
        (knock(2), "knock"),
        (np.array([0, 0.8, -0.8, 0], np.float32), "knock"),
        (burst(0.15), "noise"),
        (burst(0.3), "noise"),
        (burst(1.2), "noise"),
        (beep(0.2, 600), "tone"),
        (beep(0.6, 1000), "tone"),
    ],
)
def test_other_sounds_are_logged_and_left_out(
    make_video: MakeVideo, sound: np.ndarray, reason: str
) -> None:
    samples = room(6, {1.5: voice(0.6), 3.5: sound})
    found = list(capture(make_video("sounds.wav", samples=samples, sound_codec="pcm_s16le")))
    (clip,) = clips(found)
    assert clip.start_s == pytest.approx(1.5, abs=0.05)
    assert reasons(found, "clip") == [reason]


def test_the_noise_floor_follows_a_louder_room(make_video: MakeVideo) -> None:
    quiet = room(15, {3.0: 0.2 * voice(0.6), 8.0: 0.2 * voice(0.7)}, noise=0.0004)
    loud = room(25, {8.0: voice(0.6), 16.0: voice(0.7)}, noise=0.01)
    samples = np.concatenate([quiet, loud])
    found = clips(list(capture(make_video("rooms.wav", samples=samples, sound_codec="pcm_s16le"))))
    starts = [clip.start_s for clip in found]
    assert starts == pytest.approx([3.0, 8.0, 23.0, 31.0], abs=0.06)


def test_words_between_digital_silence_are_found(make_video: MakeVideo) -> None:
    samples = room(6, {1.0: voice(0.6), 3.0: voice(0.6, 200)}, noise=0.0)
    found = clips(list(capture(make_video(samples=samples))))
    assert [clip.start_s for clip in found] == pytest.approx([1.0, 3.0], abs=0.06)


def test_long_speech_is_cut_at_its_pauses(make_video: MakeVideo) -> None:
    # Syllables 0.2 s apart: shorter than a pause between words, for 25 s on end.
    sounds = {2 + 0.8 * number: voice(0.6, 110 + 7 * (number % 5)) for number in range(31)}
    samples = room(30, sounds)
    found = clips(list(capture(make_video("speech.wav", samples=samples, sound_codec="pcm_s16le"))))
    assert 3 <= len(found) <= 6
    for clip in found:
        assert clip.end_s - clip.start_s <= 10
        assert len(clip.samples) / RATE_HZ <= 10.3
    for before, after in pairwise(found):
        cut_s = after.start_s
        inside = [start for start in sounds if start + 0.05 < cut_s < start + 0.55]
        assert not inside, f"cut at {cut_s} inside a syllable"
        assert after.start_s >= before.end_s


def test_what_is_found_does_not_depend_on_the_packets(make_video: MakeVideo) -> None:
    samples = room(20, {1.0: voice(0.5), 6.0: voice(0.9), 14.2: knock(), 17.0: voice(0.7)})
    wav = make_video("a.wav", samples=samples, sound_codec="pcm_s16le")
    flac = make_video("a.flac", samples=samples.astype(np.float32), sound_codec="flac")
    from_wav, from_flac = (
        [clip.start_s for clip in clips(list(capture(path)))] for path in (wav, flac)
    )
    assert len(from_wav) == 3
    assert from_wav == pytest.approx(from_flac, abs=1e-6)


def test_sound_that_starts_later_keeps_its_time(make_video: MakeVideo) -> None:
    pictures = [scene(160, 120)] * 90
    samples = room(3, {1.0: voice(0.6)})
    path = make_video("late.mkv", pictures=pictures, samples=samples, sound_from_s=2.0)
    found = list(capture(path))
    (clip,) = clips(found)
    assert clip.start_s == pytest.approx(3.0, abs=0.06)
    assert frames(found)[0].time_s < 0.5


# Sight


def test_keeps_the_sharpest_frame_of_each_interval(make_video: MakeVideo) -> None:
    picture = scene(320, 240)
    blurred = smeared(picture)
    # One sharp picture in each second after the first, at 0.6 s.
    pictures = [picture if n < 10 or n % 10 == 6 else blurred for n in range(60)]
    found = list(capture(make_video(pictures=pictures, fps=10)))
    times = [frame.time_s for frame in frames(found)]
    assert times[1:] == pytest.approx([1.6, 2.6, 3.6, 4.6, 5.6], abs=0.01)


def test_a_blurred_second_is_left_out_and_logged(make_video: MakeVideo) -> None:
    picture = scene(320, 240)
    blurred = smeared(picture)
    pictures = [blurred if 60 <= n < 90 else picture for n in range(150)]
    found = list(capture(make_video(pictures=pictures, fps=30)))
    assert [int(frame.time_s) for frame in frames(found)] == [0, 1, 3, 4]
    (rejection,) = [item for item in found if isinstance(item, Rejection)]
    assert (rejection.sense, rejection.reason) == ("frame", "blurry")
    assert (rejection.start_s, rejection.end_s) == (2.0, 3.0)
    assert 0 < rejection.value < 0.6


def test_an_empty_picture_is_not_sharp(make_video: MakeVideo) -> None:
    rng = np.random.default_rng(0)
    dark = [rng.integers(0, 6, (120, 160, 3)).astype(np.uint8) for _ in range(30)]
    found = list(capture(make_video(pictures=dark)))
    assert frames(found) == []
    assert set(reasons(found, "frame")) == {"blurry"}


@pytest.mark.parametrize(
    ("size", "side", "kept"),
    [
        ((640, 360), 224, (398, 224)),
        ((360, 640), 224, (224, 398)),
        ((160, 120), 224, (160, 120)),
        ((640, 360), 360, (640, 360)),
    ],
)
def test_frames_are_scaled_down_and_never_up(
    make_video: MakeVideo, size: tuple[int, int], side: int, kept: tuple[int, int]
) -> None:
    pictures = [scene(*size)] * 15
    frame = next(iter(capture(make_video(pictures=pictures), CaptureSettings(shorter_side=side))))
    assert isinstance(frame, Frame)
    assert (frame.width, frame.height) == kept
    assert decoded(frame).shape == (kept[1], kept[0], 3)


def test_frames_look_like_the_video(make_video: MakeVideo) -> None:
    picture = scene(160, 120)
    picture[:60, :80] = (220, 40, 30)
    frame = frames(list(capture(make_video(pictures=[picture] * 15))))[0]
    corner = decoded(frame)[5:55, 5:75].mean(axis=(0, 1))
    assert corner == pytest.approx([220, 40, 30], abs=20)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotated_videos_come_out_upright(make_video: MakeVideo, rotation: int) -> None:
    upright = scene(120, 160)
    upright[:80, :60] = (220, 40, 30)
    # Stored so that turning it counterclockwise by `rotation` shows it upright.
    stored = np.ascontiguousarray(np.rot90(upright, -rotation // 90))
    path = make_video(pictures=[stored] * 15, rotation=rotation)
    frame = frames(list(capture(path)))[0]
    assert (frame.width, frame.height) == (120, 160)
    assert (probe(path).width, probe(path).height) == (120, 160)
    assert decoded(frame)[5:75, 5:55].mean(axis=(0, 1)) == pytest.approx([220, 40, 30], abs=20)
    assert frame.neighbours.shape == (2, 128, 96, 3)


def test_neighbours_show_the_moments_before_and_after(make_video: MakeVideo) -> None:
    # The picture brightens steadily: its brightness tells the time.
    base = scene(320, 240) * 0.5
    pictures = [(base + 1.5 * number).astype(np.uint8) for number in range(75)]
    found = frames(list(capture(make_video(pictures=pictures, fps=15))))
    frame = found[2]
    before, after = frame.neighbours.mean(axis=(1, 2, 3))
    own = decoded(frame).mean()
    assert frame.neighbours.dtype == np.uint8
    assert frame.neighbours.shape == (2, 96, 128, 3)
    # 1.5 grey levels a picture, 15 pictures a second: 0.2 to 0.4 s are 4.5 to 9 levels.
    assert 4 < own - before < 10
    assert 4 < after - own < 10


def test_a_single_picture_is_its_own_neighbour(make_video: MakeVideo) -> None:
    (frame,) = capture(make_video(pictures=[scene(160, 120)]))
    assert isinstance(frame, Frame)
    assert (frame.neighbours[0] == frame.neighbours[1]).all()


def test_variable_frame_rate_goes_by_time_stamps(make_video: MakeVideo) -> None:
    # Two seconds at 30 fps, a picture every 2.5 s up to 12, then 30 fps again.
    times_s = [n / 30 for n in range(60)] + [4.5, 7.0, 9.5] + [12 + n / 30 for n in range(60)]
    pictures = [scene(160, 120, seed=n % 3) for n in range(len(times_s))]
    found = frames(list(capture(make_video("v.mkv", pictures=pictures, times_s=times_s, fps=30))))
    seconds = [int(frame.time_s) for frame in found]
    assert seconds == [0, 1, 4, 7, 9, 12, 13]


def test_more_frames_per_second_can_be_asked_for(make_video: MakeVideo) -> None:
    pictures = [scene(160, 120, seed=n) for n in range(60)]
    path = make_video(pictures=pictures, fps=30)
    assert len(frames(list(capture(path, CaptureSettings(frames_per_second=30))))) == 60
    assert len(frames(list(capture(path, CaptureSettings(frames_per_second=5))))) == 10
    assert len(frames(list(capture(path, CaptureSettings(frames_per_second=0.5))))) == 1


# Both


def test_frames_and_clips_come_interleaved_in_time_order(make_video: MakeVideo) -> None:
    samples = room(20, {second + 0.2: voice(0.6) for second in range(1, 20, 3)})
    path = make_video(pictures=[scene(160, 120)] * 300, samples=samples)
    found = list(capture(path))
    assert len(clips(found)) == 7
    assert len(frames(found)) == 20
    times = [item.time_s for item in frames(found)]
    assert times == sorted(times)
    kinds = "".join("F" if isinstance(item, Frame) else "C" for item in found)
    assert len(kinds.replace("F", " ").split()) > 2, kinds


def test_memory_stays_flat() -> None:
    finder_s, rng = 240, np.random.default_rng(0)
    finder = WordFinder(CaptureSettings(), 0.0)
    word = voice(0.6)
    held = []
    for _ in range(finder_s):
        piece = rng.normal(0, 0.002, RATE_HZ).astype(np.float32)
        piece[5000 : 5000 + len(word)] += word
        found = list(finder.push(piece))
        assert len(found) <= 3
        held.append(len(finder.samples))
    assert max(held[60:]) <= max(held[:60])
    assert max(held) < 40 * RATE_HZ


def test_probe_tells_what_a_video_holds(make_video: MakeVideo) -> None:
    samples = room(2, {})
    info = probe(make_video(pictures=[scene(160, 120)] * 30, samples=samples))
    assert (info.has_picture, info.has_sound) == (True, True)
    assert (info.width, info.height) == (160, 120)
    assert info.fps == pytest.approx(15, abs=0.1)
    assert info.duration_s == pytest.approx(2, abs=0.1)
    sound_only = probe(make_video("s.wav", samples=samples, sound_codec="pcm_s16le"))
    assert (sound_only.has_picture, sound_only.has_sound) == (False, True)
    assert (sound_only.width, sound_only.height, sound_only.fps) == (0, 0, 0)


# Videos that lack something or are broken


def test_no_sound_track_gives_frames_only(make_video: MakeVideo) -> None:
    found = list(capture(make_video(pictures=[scene(160, 120)] * 45)))
    assert len(frames(found)) == len(found) == 3


def test_silent_sound_gives_frames_only(make_video: MakeVideo) -> None:
    path = make_video(
        pictures=[scene(160, 120)] * 45, samples=np.zeros(3 * RATE_HZ, dtype=np.float32)
    )
    found = list(capture(path))
    assert len(frames(found)) == len(found) == 3


def test_steady_noise_gives_no_clip(make_video: MakeVideo) -> None:
    path = make_video("n.wav", samples=room(20, {}, noise=0.02), sound_codec="pcm_s16le")
    assert clips(list(capture(path))) == []


@pytest.mark.parametrize("name", ["cut.mkv", "cut.ts"])
def test_a_truncated_video_keeps_what_can_be_decoded(make_video: MakeVideo, name: str) -> None:
    pictures = [scene(320, 240, seed=n // 15) for n in range(150)]
    path = make_video(name, pictures=pictures, samples=room(10, {1.0: voice(0.6)}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = list(capture(path))
    assert 3 <= len(frames(found)) <= 8
    assert len(clips(found)) == 1
    if name.endswith("mkv"):  # which declares its length
        lost = [item for item in found if isinstance(item, Rejection) and item.reason == "damaged"]
        assert {item.sense for item in lost} == {"frame", "clip"}
        assert all(item.end_s == pytest.approx(10, abs=0.3) for item in lost)


def test_a_truncated_mp4_without_its_index_is_refused(make_video: MakeVideo) -> None:
    path = make_video(pictures=[scene(320, 240)] * 60)
    path.write_bytes(path.read_bytes()[:-2000])
    assert_refused(path, "no readable video")


def test_a_damaged_stretch_is_reported_and_the_rest_kept(make_video: MakeVideo) -> None:
    pictures = [scene(320, 240, seed=n // 15) for n in range(150)]
    path = make_video("hit.mp4", pictures=pictures)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    garbage = np.random.default_rng(0).integers(0, 256, len(data) // 8, np.uint8).tobytes()
    data[middle : middle + len(garbage)] = garbage
    path.write_bytes(bytes(data))
    found = list(capture(path))
    assert 5 <= len(frames(found)) <= 10
    assert "damaged" in reasons(found, "frame")


def assert_refused(path: Path, words: str) -> None:
    """Both probe and capture refuse the file in one sentence that says what to do."""
    for use in (probe, lambda path: list(capture(path))):
        with pytest.raises(UnreadableVideo, match=words) as caught:
            use(path)
        message = str(caught.value)
        assert message.endswith(".")
        assert "\n" not in message
        assert re.search(r"copy|convert|check|give|scale|record", message)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"This is no video.\n" * 50, "no readable video"),
        ("noise.mp4", np.random.default_rng(0).bytes(50_000), "no readable video"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:3,\nfile:///etc/hostname\n", "no readable video"),
    ],
)
def test_files_that_are_no_videos_are_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, words)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere.mp4", "does not exist")
    assert_refused(tmp_path, "is a folder")


def test_a_video_of_zero_length_is_refused(make_video: MakeVideo) -> None:
    path = make_video("nothing.mkv", pictures=[])
    with pytest.raises(UnreadableVideo):
        list(capture(path))
    wav = make_video("nothing.wav", samples=np.zeros(0, np.float32), sound_codec="pcm_s16le")
    with pytest.raises(UnreadableVideo):
        list(capture(wav))


def test_pictures_of_absurd_size_are_refused(make_video: MakeVideo, tmp_path: Path) -> None:
    path = make_video(pictures=[scene(640, 480)] * 3)
    with pytest.raises(UnreadableVideo, match=r"640 x 480 pixels, more than the 100000 allowed"):
        list(capture(path, CaptureSettings(max_pixels=100_000)))
    with pytest.raises(UnreadableVideo, match="scale it down"):
        probe(path, CaptureSettings(max_pixels=100_000))


def test_a_file_that_merely_claims_an_absurd_size_is_refused(make_video: MakeVideo) -> None:
    path = make_video("huge.avi", pictures=[scene(160, 128)] * 5, codec="mjpeg")
    data = path.read_bytes().replace(struct.pack("<ii", 160, 128), struct.pack("<ii", 16000, 16000))
    path.write_bytes(data.replace(struct.pack(">HH", 128, 160), struct.pack(">HH", 16000, 16000)))
    assert_refused(path, "16000 x 16000 pixels")


def test_what_lies_beyond_the_most_seconds_is_left_out_and_logged(make_video: MakeVideo) -> None:
    samples = room(6, {1.0: voice(0.6), 4.5: voice(0.6)})
    path = make_video(pictures=[scene(160, 120)] * 90, samples=samples)
    found = list(capture(path, CaptureSettings(max_seconds=3)))
    assert len(frames(found)) == 3
    assert len(clips(found)) == 1
    assert reasons(found, "frame") == reasons(found, "clip") == ["too long"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frames_per_second", 0),
        ("frames_per_second", float("nan")),
        ("shorter_side", 8),
        ("jpeg_quality", 101),
        ("clip_seconds_max", 1000),
        ("max_pixels", 1),
        ("max_seconds", 0),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must lie between .*\.$"):
        CaptureSettings(**{field: value})


def test_importing_the_package_stays_light() -> None:
    code = (
        "import sys, aela.capture; "
        "print([m for m in ('torch', 'librosa', 'moviepy', 'torchaudio') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
