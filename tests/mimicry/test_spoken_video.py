import io
import subprocess

import av
import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from upath import UPath

from aela.capture import SAMPLE_RATE_HZ, Clip, Frame, UnreadableVideo
from aela.memory import store
from aela.memory.videos import Video
from aela.mimicry.captions import SAID, SILENT, UNSURE, Captions
from aela.mimicry.predict import PREDICTIONS
from aela.mimicry.spoken_video import make_spoken_video
from aela.storage import Home, write_bytes

FPS = 25
IN_STEP_S = 0.04
THRESHOLD = 0.4
RED, BLUE = (200, 40, 40), (40, 40, 200)
MEMORY = "things-01234567"
VOICE_HZ = {"up": 3000.0, "down": 5000.0}


def word(name):
    """Half a second of a glide, upwards or downwards: what was heard."""
    time_s = np.arange(22_050) / SAMPLE_RATE_HZ
    sweep = 400 + 3000 * time_s / time_s[-1]
    phase = 2 * np.pi * np.cumsum(sweep if name == "up" else sweep[::-1]) / SAMPLE_RATE_HZ
    return (0.3 * np.sin(phase)).astype(np.float32)


def voice(name, seconds=0.5):
    """A tone of the word's own: what the system says."""
    time_s = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.4 * np.sin(2 * np.pi * VOICE_HZ[name] * time_s)).astype(np.float32)


@pytest.fixture
def home(tmp_path):
    """Remembers "up" at 1 s and 2 s and "down" at 5 s, and a red and a blue frame."""
    home = Home.at(tmp_path / "home")
    senses: list[Clip | Frame] = [
        Clip(s, s + 0.5, word(name), 0.0, -20.0, 30.0)
        for s, name in ((1.0, "up"), (2.0, "up"), (5.0, "down"))
    ]
    for time_s, colour in ((1.2, RED), (5.2, BLUE)):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 48), colour).save(buffer, "JPEG")
        views = np.zeros((2, 48, 64, 3), np.uint8)
        senses.append(Frame(time_s, buffer.getvalue(), 64, 48, 1.0, views))
    store.remember(home, Video(MEMORY, ("learn",), (MEMORY,), MEMORY, "", 1, ""), senses)
    for name in ("up", "down"):
        write_bytes(home.root / f"sounds/{name}.flac", store.to_flac(voice(name)))
    return home


def predictions(*rows, confidence=0.75, novelty=0.2):
    """Rows are (time_s, said word or None, start of the nearest clip)."""
    return pa.Table.from_pylist(
        [
            {
                "time_s": time_s,
                "said": name is not None,
                "confidence": confidence,
                "novelty": novelty,
                "sound": f"sounds/{name}.flac" if name else None,
                "clip_video": MEMORY,
                "clip_start_s": clip_s,
                "clip_end_s": clip_s + 0.5,
                "frames": [{"video": MEMORY, "time_s": clip_s + 0.2, "similarity": 0.9}],
            }
            for time_s, name, clip_s in rows
        ],
        schema=PREDICTIONS,
    )


def record(
    path,
    seconds=4.0,
    size=(160, 120),
    sound=True,
    flash_s=2.0,
    fps=FPS,
    kept=lambda i: True,
    late_s=0,
):
    """A grey video that turns white at `flash_s`, when a 1 kHz tone of 0.2 s starts.

    Its sound begins `late_s` after its pictures, of which it holds those that are `kept`.
    """
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=fps)
        picture.width, picture.height = size
        picture.pix_fmt = "yuv420p" if not (size[0] | size[1]) & 1 else "yuv444p"
        track = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono") if sound else None
        for i in filter(kept, range(int(seconds * fps))):
            shade = 230 if flash_s <= i / fps < flash_s + 0.2 else 90
            plane = np.full((size[1], size[0], 3), shade, np.uint8)
            plane[: size[1] // 2] //= 2  # the upper half is darker
            frame = av.VideoFrame.from_ndarray(plane, format="rgb24")
            frame.pts = i
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if track is not None:
            time_s = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
            on = (time_s >= flash_s) & (time_s < flash_s + 0.2)
            tone = (0.5 * on * np.sin(2 * np.pi * 1000 * time_s)).astype(np.float32)
            for start in range(round(late_s * SAMPLE_RATE_HZ), len(tone), 1024):
                part = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "flt", "mono")
                part.sample_rate, part.pts = SAMPLE_RATE_HZ, start
                container.mux(track.encode(part))
            container.mux(track.encode(None))
    return path


def watch(path):
    """`(pictures uint8 [n, h, w, 3], their times, samples [m])` of a video."""
    pictures, times, sound = [], [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            pictures.append(frame.to_ndarray(format="rgb24"))
            times.append(frame.time)
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    with av.open(str(path)) as container:
        if container.streams.audio:
            for frame in container.decode(audio=0):
                left, right = frame.to_ndarray()
                assert np.abs(left - right).max() < 0.05  # nothing here comes from one side
                sound.append(left)
            assert container.streams.audio[0].codec_context.sample_rate == SAMPLE_RATE_HZ
    return np.stack(pictures), np.array(times), np.concatenate(sound) if sound else np.zeros(0)


def flash_and_beep(pictures, times, samples):
    """When the picture turns white, and when its tone starts, to the millisecond."""
    bright = times[pictures[:, 200].mean(axis=(1, 2)) > 160]
    loud = np.flatnonzero(np.abs(samples) > 0.5 * np.abs(samples).max())
    return bright.min(), loud.min() / SAMPLE_RATE_HZ


def times_of(samples, hz):
    """When a tone is heard: seconds of the start of each stretch, and the loudness at the first."""
    block = 882  # 20 ms
    parts = samples[: len(samples) // block * block].reshape(-1, block)
    wave = np.exp(-2j * np.pi * hz * np.arange(block) / SAMPLE_RATE_HZ)
    level = 2 * np.abs(parts @ wave) / block
    on = level > 0.05
    starts = np.flatnonzero(on & ~np.concatenate([[False], on[:-1]]))
    return [float(s) * 0.02 for s in starts], level.max()


def make(tmp_path, home, table, source, **options):
    target = UPath(tmp_path / "out" / "spoken.mp4")
    options = {"original_volume": 0.3, **options}
    make_spoken_video(source, table, THRESHOLD, home, target, **options)
    assert [path.name for path in target.parent.iterdir()] == ["spoken.mp4"]
    return watch(target)


def test_a_word_is_said_once_while_it_goes_on_and_anew_when_it_changes(tmp_path, home):
    source = record(tmp_path / "in.mp4", seconds=8.0, flash_s=7.0)
    table = predictions(
        (0.5, "up", 1.0),
        (1.5, "up", 2.0),  # another remembered saying of the same word
        (2.5, "down", 5.0),
        (3.5, None, 5.0),
        (4.5, "down", 5.0),
        (7.2, "down", 5.0),  # long after the last time
    )
    _, _, sound = make(tmp_path, home, table, source)
    assert times_of(sound, VOICE_HZ["up"])[0] == pytest.approx([0.5], abs=0.05)
    assert times_of(sound, VOICE_HZ["down"])[0] == pytest.approx([2.5, 7.2], abs=0.05)


def test_one_word_waits_for_the_other_to_end(tmp_path, home):
    source = record(tmp_path / "in.mp4")
    table = predictions((0.5, "up", 1.0), (0.7, "down", 5.0))
    _, _, sound = make(tmp_path, home, table, source)
    assert times_of(sound, VOICE_HZ["down"])[0] == pytest.approx([1.0], abs=0.05)


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
def test_picture_recorded_sound_and_voice_stay_in_step(tmp_path, home, name):
    source = record(tmp_path / name)
    pictures, times, sound = make(tmp_path, home, predictions((1.0, "up", 1.0)), source)
    bright = times[pictures[:, 200].mean(axis=(1, 2)) > 160]
    tone, loudness = times_of(sound, 1000)
    assert bright.min() == pytest.approx(2.0, abs=IN_STEP_S)
    assert tone == pytest.approx([2.0], abs=IN_STEP_S)
    assert loudness == pytest.approx(0.3 * 0.5, rel=0.2)
    assert times_of(sound, VOICE_HZ["up"]) == (
        pytest.approx([1.0], abs=0.05),
        pytest.approx(0.4, rel=0.2),
    )
    assert len(times) / FPS == pytest.approx(4.0, abs=0.1)
    assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("in.mp4", {}),
        ("in.ts", {}),  # its first time stamp is not 0
        ("in.mp4", {"fps": 50}),
        ("in.mp4", {"fps": 8, "flash_s": 2.125}),
        ("uneven.mkv", {"fps": 60, "kept": lambda i: i % 7 in (0, 1, 5) or i == 120}),
        ("pause.mkv", {"fps": 30, "kept": lambda i: not 10 < i < 55}),
        ("late.mkv", {"late_s": 0.7}),
        ("hardly-late.mkv", {"late_s": 0.045}),
    ],
)
def test_a_flash_and_its_beep_stay_within_40_ms(tmp_path, home, name, options):
    source = record(tmp_path / name, **options)
    flash, beep = flash_and_beep(*make(tmp_path, home, predictions(), source, original_volume=1))
    assert abs(flash - beep) < IN_STEP_S
    assert beep == pytest.approx(options.get("flash_s", 2.0), abs=IN_STEP_S)


def test_the_recording_can_be_silenced(tmp_path, home):
    source = record(tmp_path / "in.mp4")
    _, _, sound = make(tmp_path, home, predictions(), source, original_volume=0.0)
    assert np.abs(sound).max() < 1e-3


def test_the_caption_shows_what_was_remembered(tmp_path, home):
    source = record(tmp_path / "in.mp4", size=(320, 240), seconds=6.0)
    table = predictions((1.0, "up", 1.0), (2.0, None, 5.0))
    pictures, times, _ = make(tmp_path, home, table, source)
    band = pictures[:, 240:, :80].astype(int)

    def shown(colour, time_s):
        frame = band[np.abs(times - time_s).argmin()]
        return (np.abs(frame - colour).max(axis=-1) < 60).sum()

    assert shown(RED, 0.5) == shown(BLUE, 0.5) == 0  # nothing was looked at yet
    assert shown(RED, 1.5) > 500 and shown(BLUE, 1.5) == 0
    assert shown(BLUE, 2.5) > 500 and shown(RED, 2.5) == 0
    assert shown(BLUE, 5.7) == 0  # too long ago


def test_the_caption_tells_surely_said_from_unsure_and_silent(tmp_path, home):
    def colours(**answer):
        captions = Captions(predictions((0.0, "up", 1.0), **answer).to_pylist(), THRESHOLD, home)
        captions.size = (640, 108)
        return {tuple(colour) for colour in captions.at(0.0).reshape(-1, 3).tolist()}

    for answer, colour in (
        ({"novelty": 0.2}, SAID),
        ({"novelty": 0.39}, UNSURE),
        ({"novelty": 0.2, "confidence": 0.3}, UNSURE),
        ({"novelty": 0.41}, SILENT),
    ):
        shown = colours(**answer)
        assert colour in shown
        assert not shown.intersection({UNSURE, SILENT} - {colour})


def test_the_caption_marks_how_novel_is_too_novel(home):
    table = predictions((0.0, "up", 1.0), novelty=0.1).to_pylist()
    drawn = []
    for threshold in (0.2, 0.8):
        captions = Captions(table, threshold, home)
        captions.size = (640, 108)
        drawn.append(captions.at(0.0).astype(int))
    changed = np.flatnonzero(np.abs(drawn[0] - drawn[1]).max(axis=(0, 2)) > 100)
    assert 40 < np.ptp(changed) < 320  # from one mark to the other, on the bar for novelty
    assert changed.min() > 320


def test_a_silent_video_without_answers_stays_silent(tmp_path, home):
    source = record(tmp_path / "in.mp4", sound=False)
    pictures, _, sound = make(tmp_path, home, predictions((1.0, None, 1.0)), source)
    assert len(sound) == 0
    assert len(pictures) == 4 * FPS


def test_a_silent_video_gets_a_voice(tmp_path, home):
    source = record(tmp_path / "in.mp4", sound=False)
    _, _, sound = make(tmp_path, home, predictions((1.0, "up", 1.0)), source)
    assert times_of(sound, VOICE_HZ["up"])[0] == pytest.approx([1.0], abs=0.05)


def test_odd_sizes_become_even_and_small_ones_get_room_for_the_caption(tmp_path, home):
    source = record(tmp_path / "in.mkv", size=(101, 77), seconds=1.0)
    pictures, _, _ = make(tmp_path, home, predictions(), source)
    height, width = pictures.shape[1:3]
    assert width % 2 == height % 2 == 0
    assert width >= 320
    assert height > width * 77 / 101


def test_a_turned_recording_is_shown_upright(tmp_path, home):
    record(tmp_path / "in.mp4", size=(320, 240), seconds=1.0, flash_s=5.0)
    turned = tmp_path / "turned.mp4"
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90"]
    subprocess.run([*ffmpeg, "-i", tmp_path / "in.mp4", "-c", "copy", turned], check=True)
    pictures, _, _ = make(tmp_path, home, predictions(), turned)
    picture = pictures[5, :320].mean(axis=-1)  # 240 wide and 320 tall before scaling
    height = pictures.shape[1]
    assert height > 320 * 4 / 3
    # Turned counterclockwise, the dark upper half lies on the left.
    assert picture[:, :100].mean() < picture[:, -100:].mean() - 20


def test_sound_alone_gets_a_black_picture(tmp_path, home):
    source = tmp_path / "in.wav"
    source.write_bytes(b"")
    with av.open(str(source), "w") as container:
        track = container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ, layout="mono")
        tone = (3000 * np.sin(np.arange(SAMPLE_RATE_HZ) / 7)).astype(np.int16)[None]
        part = av.AudioFrame.from_ndarray(tone, "s16", "mono")
        part.sample_rate, part.pts = SAMPLE_RATE_HZ, 0
        container.mux(track.encode(part))
        container.mux(track.encode(None))
    pictures, _, sound = make(tmp_path, home, predictions(), source)
    assert pictures[0, :300].max() < 30
    assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(1.0, abs=0.1)


def test_a_recording_that_breaks_off_is_spoken_over_up_to_there(tmp_path, home):
    whole = record(tmp_path / "whole.mkv").read_bytes()
    source = tmp_path / "in.mkv"
    source.write_bytes(whole[: len(whole) * 6 // 10])
    pictures, _, _ = make(tmp_path, home, predictions((0.5, "up", 1.0)), source)
    assert FPS < len(pictures) < 4 * FPS


def test_sound_that_changes_its_form_is_heard_to_the_end(tmp_path, home):
    source = tmp_path / "in.ts"
    with source.open("wb") as both:
        for layout, rate in (("mono", SAMPLE_RATE_HZ), ("stereo", 48_000)):
            part = tmp_path / f"{layout}.ts"
            with av.open(str(part), "w", format="mpegts") as container:
                track = container.add_stream("mp2", rate=rate, layout=layout)
                tone = (9000 * np.sin(2 * np.pi * 1000 * np.arange(2 * rate) / rate)).astype("i2")
                samples = np.stack([tone] * (1 if layout == "mono" else 2))
                frame = av.AudioFrame.from_ndarray(samples, "s16p", layout)
                frame.sample_rate, frame.pts = rate, 2 * rate if layout == "stereo" else 0
                container.mux(track.encode(frame))
                container.mux(track.encode(None))
            both.write(part.read_bytes())
    _, _, sound = make(tmp_path, home, predictions(), source, original_volume=1)
    loud = np.abs(sound) > 0.1
    assert len(sound) / SAMPLE_RATE_HZ == pytest.approx(4.0, abs=0.3)
    assert loud[: len(loud) // 2].mean() > 0.6 and loud[len(loud) // 2 :].mean() > 0.6


def test_an_unreadable_source_leaves_nothing_behind(tmp_path, home):
    source = tmp_path / "in.mp4"
    source.write_bytes(b"not a video at all")
    target = UPath(tmp_path / "out" / "spoken.mp4")
    with pytest.raises(UnreadableVideo):
        make_spoken_video(source, predictions(), THRESHOLD, home, target, 0.3)
    assert not target.parent.exists()


def test_the_volume_is_a_share(tmp_path, home):
    with pytest.raises(ValueError, match="original_volume"):
        make_spoken_video(
            tmp_path / "in.mp4", predictions(), THRESHOLD, home, UPath(tmp_path / "o"), 1.5
        )
