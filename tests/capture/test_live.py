"""A live source is followed in real time: nothing lost in silence, nothing waits for anybody."""

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from av.packet import Packet
from PIL import Image

from aela.capture import SAMPLE_RATE_HZ, Clip, Frame, Rejection, UnreadableVideo, capture
from aela.capture.feed import Feed
from aela.capture.live import Live, LiveSettings, Minute
from aela.capture.live_source import inputs
from aela.capture.stream import Sense
from tests.capture.media import room, voice

MINUTE_S = 3.0
FPS, SECONDS = 10, 7  # of the film
WORDS_S = (0.6, 2.7, 4.6)  # the second one lasts beyond the first minute
QUICK = LiveSettings(minute_s=MINUTE_S, first_wait_s=0.1)


def heard(minutes: list[Minute]) -> list[Clip]:
    return [s for minute in minutes for s in minute.sensed if isinstance(s, Clip)]


def starts_s(minutes: list[Minute], minute_s: float = MINUTE_S) -> list[float]:
    """Where words start, counted from the start of the recording."""
    of = [(minute.number * minute_s, minute.sensed) for minute in minutes]
    return [begin_s + s.start_s for begin_s, sensed in of for s in sensed if isinstance(s, Clip)]


def times_s(minutes: list[Minute], minute_s: float = MINUTE_S) -> list[float]:
    of = [(minute.number * minute_s, minute.sensed) for minute in minutes]
    return [begin_s + s.time_s for begin_s, sensed in of for s in sensed if isinstance(s, Frame)]


def left_out(minutes: list[Minute], reason: str) -> list[Rejection]:
    everything = [s for minute in minutes for s in minute.sensed]
    return [s for s in everything if isinstance(s, Rejection) and s.reason == reason]


def assert_same_as_captured(minutes: list[Minute], film: Path, words: int = len(WORDS_S)) -> None:
    captured = list(capture(film))
    clips = [item for item in captured if isinstance(item, Clip)]
    assert len(clips) == words
    assert starts_s(minutes) == pytest.approx([clip.start_s for clip in clips], abs=0.03)
    for live, clip in zip(heard(minutes), clips, strict=True):
        assert live.end_s - live.start_s == pytest.approx(clip.end_s - clip.start_s, abs=0.03)
    frames_s = [item.time_s for item in captured if isinstance(item, Frame)]
    assert times_s(minutes) == pytest.approx(frames_s, abs=0.01)


@contextlib.contextmanager
def written(pipe: Path, *films: Path) -> Iterator[threading.Thread]:
    """Somebody who writes films into a named pipe, as fast as it takes them, each anew."""

    def write() -> None:
        for film in films:
            with pipe.open("wb") as file:
                file.write(film.read_bytes())
            time.sleep(0.3)

    os.mkfifo(pipe)
    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield thread
    thread.join(5)


def stopped_after(live: Live, enough: Callable[[list[Minute]], bool]) -> list[Minute]:
    """The minutes up to when there is enough, and what is left then."""
    minutes: list[Minute] = []
    for minute in live.minutes():
        minutes.append(minute)
        if enough(minutes):
            live.stop()
    return minutes


# Like a file


def test_a_replayed_file_takes_its_time_and_gives_what_the_file_gives(film: Path, tmp_path: Path):
    short = tmp_path / "short.ts"
    short.write_bytes(film.read_bytes()[: film.stat().st_size * 4 // SECONDS // 188 * 188])
    start = time.monotonic()
    minutes = list(Live(str(short), live=QUICK, replay=True).minutes())
    assert 3 < time.monotonic() - start < 8
    assert [minute.number for minute in minutes] == [0, 1]
    assert_same_as_captured(minutes, short, words=2)


def test_a_word_across_the_cut_belongs_whole_to_the_minute_in_which_it_starts(
    film: Path, tmp_path: Path
):
    pipe = tmp_path / "camera"
    with written(pipe, film):
        minutes = stopped_after(Live(str(pipe), live=QUICK), bool)
    first = heard(minutes[:1])
    assert [clip.start_s for clip in first] == pytest.approx(WORDS_S[:2], abs=0.2)
    assert first[1].end_s > MINUTE_S
    assert first[1].samples.size >= first[0].samples.size * 0.9
    assert_same_as_captured(minutes, film)


# What goes wrong


def test_a_pipe_that_is_written_anew_goes_on_and_the_gap_is_told(film: Path, tmp_path: Path):
    pipe, told = tmp_path / "camera", []
    with written(pipe, film, film):
        live = Live(str(pipe), live=QUICK, tell=told.append)
        minutes = stopped_after(live, lambda so_far: len(starts_s(so_far)) > len(WORDS_S))
    assert len(starts_s(minutes)) == 2 * len(WORDS_S)
    assert all(a < b for a, b in pairwise(starts_s(minutes)))
    assert told[0] == "camera ended. Connecting again." and "camera is back" in told[1]
    assert not any(thread.name.startswith("lane") for thread in threading.enumerate())


@pytest.fixture
def stalling(film: Path) -> Iterator[tuple[str, list[int]]]:
    """A server that sends the first second of a film, then nothing; the rest to who asks again.

    Its address, and how many bytes it has sent to whom.
    """
    data, sent, over = film.read_bytes(), [], threading.Event()
    second = len(data) // SECONDS // 188 * 188

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            part = data[second:] if sent else data[:second]
            sent.append(len(part))
            self.wfile.write(part)
            self.wfile.flush()
            if len(sent) < 2:
                over.wait(20)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/camera.ts?key=secret", sent
    over.set()
    server.shutdown()


def test_a_stalled_stream_is_connected_to_again_and_what_is_missing_is_counted(
    stalling: tuple[str, list[int]],
):
    (address, sent), told = stalling, []
    patient = LiveSettings(minute_s=MINUTE_S, stall_s=1.5, first_wait_s=0.1)
    live = Live(address, live=patient, tell=told.append)
    assert "secret" not in live.name
    minutes = stopped_after(live, lambda so_far: len(sent) >= 2 and len(so_far) >= 2)
    assert len(sent) >= 2
    assert "gave nothing for 1.5 s" in told[0] and "is back" in told[1]
    missing = left_out(minutes, "missing")
    assert {gap.sense for gap in missing} == {"frame", "clip"}
    assert all(gap.value == pytest.approx(gap.end_s - gap.start_s) for gap in missing)
    assert len(starts_s(minutes)) >= len(WORDS_S) - 1  # the cut goes through the first
    assert all(a < b for a, b in pairwise(times_s(minutes)))


def test_whoever_is_slow_loses_the_oldest_and_the_sender_never_waits(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    take = Sense.take

    def slowly(sense: Sense, packet: Packet) -> Iterator[Frame | Clip | Rejection]:
        time.sleep(0.01)
        return take(sense, packet)

    monkeypatch.setattr(Sense, "take", slowly)
    pipe, told = tmp_path / "camera", []
    narrow = LiveSettings(minute_s=1.0, queued_s=2.0, stall_s=5.0)
    with written(pipe, film) as sender:
        live = Live(str(pipe), live=narrow, tell=told.append)
        minutes = []
        for minute in live.minutes():
            minutes.append(minute)
            if len(minutes) == 1:
                sender.join(3)
                assert not sender.is_alive()
            live.stop()
    dropped = left_out(minutes, "dropped")
    assert {gap.sense for gap in dropped} == {"frame", "clip"}
    assert "came faster than they could be looked at" in told[0]
    pictures = sum(gap.value for gap in dropped if gap.sense == "frame")
    assert 0 < pictures < SECONDS * FPS and pictures == int(pictures)
    assert not left_out(minutes, "damaged")  # goes on at a key frame
    assert max(times_s(minutes, 1.0)) > SECONDS - 2  # the newest was kept


def test_words_outlast_a_machine_that_is_late_and_drops_pictures():
    buffer, random = io.BytesIO(), np.random.default_rng(0)
    noise = random.integers(0, 255, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG", quality=95)
    said_s = (0.6, 1.8, 3.0, 4.2)
    sound = room(5.0, {start_s: voice(0.5) for start_s in said_s})
    samples = (sound * 32767).astype("<i2").reshape(-1, SAMPLE_RATE_HZ // 25)
    late = iter([2.0])

    def notice(sensed: Frame | Clip | Rejection) -> None:
        time.sleep(next(late, 0.0))

    few = LiveSettings(queued_bytes=1 << 20, stall_s=1.0)
    live = Live(feed := Feed("page"), live=few, notice=notice)
    feed.begin()

    def send() -> None:
        for number, part in enumerate(samples):
            feed.sound(number / 25, part, SAMPLE_RATE_HZ)
            feed.picture(number / 25, buffer.getvalue())
            time.sleep(1 / 25)
        live.stop()

    threading.Thread(target=send, daemon=True).start()
    minutes = list(live.minutes())
    assert left_out(minutes, "dropped")
    assert all(gap.start_s > 4.9 for gap in left_out(minutes, "missing"))
    assert starts_s(minutes) == pytest.approx(said_s, abs=0.2)


def test_a_camera_and_a_microphone_of_their_own_are_one_source():
    beeps = "aevalsrc='0.3*sin(2*PI*1000*t)*between(mod(t,1),0.3,0.6)':s=44100,arealtime"
    live = Live(
        f"lavfi:testsrc2=size=160x120:rate=10,realtime+lavfi:{beeps}",
        live=LiveSettings(minute_s=1.0),
    )
    threading.Timer(1.8, live.stop).start()
    minutes = list(live.minutes())
    assert len(times_s(minutes, 1.0)) >= 2
    assert left_out(minutes, "tone")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("v4l2:/dev/video99", "Nothing can be seen or heard from v4l2:/dev/video99"),
        ("http://127.0.0.1:9/camera", "check that it is switched on"),
        ("nowhere", "is no live source; give"),
        ("FILM", "add --replay"),
    ],
)
def test_what_is_no_source_is_said_in_a_sentence(film: Path, source: str, says: str):
    with pytest.raises(UnreadableVideo, match=says):
        list(Live(source.replace("FILM", str(film))).minutes())


def test_devices_are_joined_by_a_plus_and_have_options():
    camera, microphone = inputs("v4l2:/dev/video0?video_size=640x480&framerate=30+alsa:plughw:0")
    assert (camera.format, camera.address) == ("v4l2", "/dev/video0")
    assert dict(camera.options) == {"video_size": "640x480", "framerate": "30"}
    assert (microphone.format, microphone.address) == ("alsa", "plughw:0")


def test_names_of_streams_tell_no_password():
    [stream] = inputs("rtsp://me:secret@camera.local:554/front?token=secret")
    assert stream.name == "rtsp://camera.local:554/front"
    assert stream.address == "rtsp://me:secret@camera.local:554/front?token=secret"


@pytest.mark.parametrize("wrong", [{"minute_s": 0}, {"queued_s": float("nan")}, {"stall_s": -1}])
def test_settings_out_of_range_are_said(wrong: dict[str, float]):
    with pytest.raises(ValueError, match="must lie between"):
        LiveSettings(**wrong)  # type: ignore[arg-type]
