"""`aela live`, as a page and a person meet it: it remembers, forgets, speaks and ends in order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from aela.capture.live import LiveSettings
from aela.live.door import Door
from aela.live.memory import LiveMemory, Span
from aela.memory import forget as forgetting
from aela.memory import store
from aela.mimicry import verify
from aela.storage import Home
from aela_dagster import cli, live, recording
from aela_dagster.cutter import Cutter
from aela_dagster.learner import LOCK
from aela_dagster.live import Live
from aela_dagster.runs import Runner
from tests.capture.media import RATE_HZ, room
from tests.live.pages import PATIENCE_S, Page, free_port, page
from tests.live.speaking import NAMED_S, jpeg, teach, word

MINUTE_S = 6.0


def problems(home: Home) -> list[str]:
    return [
        problem
        for kind in verify.kinds(home)
        for thing in kind.things
        for problem in kind.problems(thing)
    ]


def is_learning(folder: Path) -> bool:
    """Whether a daemon runs."""
    with (folder / LOCK).open("ab") as lock:
        return not recording.locked(lock.fileno())


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def show(opened: Page, seconds: float, sounds: dict[float, np.ndarray]) -> None:
    """Show a disc in real time, with sounds at some times."""
    samples, begun_s = room(seconds, sounds), time.monotonic()
    for number in range(round(10 * seconds)):
        stamp_s = time.monotonic()
        opened.picture(stamp_s, jpeg("disc"))
        piece = samples[number * RATE_HZ // 10 : (number + 1) * RATE_HZ // 10]
        opened.sound(begun_s + number / 10, piece, RATE_HZ)
        time.sleep(max(0.0, begun_s + (number + 1) / 10 - time.monotonic()))


@pytest.fixture
def runner(home: Home) -> Runner:
    return Runner.at(home, preset="quick", device="cpu")


def test_a_part_of_a_minute_is_forgotten_and_the_rest_stays(runner: Runner):
    home = runner.home
    keys = teach(home)
    video, partitions = keys["disc"], "videos"
    runner.instance.add_dynamic_partitions(partitions, list(keys.values()))
    before = store.read_frames(home, video).to_pylist()
    start_s, end_s = NAMED_S[1], NAMED_S[1] + len(word("disc")) / RATE_HZ

    def left_out(sense: str, first_s: float, last_s: float) -> bool:
        around_s = 1.0 if sense == "frame" else 0.0
        return first_s <= end_s + around_s and last_s >= start_s - around_s

    left = recording.cut(runner, video, left_out, print)
    assert left is not None and left == f"{video}_2" and recording.minute_number(left) == 0
    clips = store.read_clips(home, left)
    assert clips["start_s"].to_pylist() == [NAMED_S[0], *NAMED_S[2:]]
    kept = store.read_frames(home, left).to_pylist()
    assert kept == [row for row in before if not 2.0 <= row["time_s"] <= end_s + 1.0]
    assert video not in {entry.video for entry in store.remembered(home)}
    assert forgetting.finished(home, forgetting.all_forgotten(home)[video])
    assert sorted(runner.instance.get_dynamic_partitions(partitions)) == sorted([keys["box"], left])
    assert problems(home) == []
    again = recording.cut(runner, left, lambda sense, *_: sense == "clip", print)
    assert again is not None and again == f"{video}_3" and not len(store.read_clips(home, again))
    assert recording.cut(runner, again, lambda *_: True, print) is None
    assert [entry.video for entry in store.remembered(home)] == [keys["box"]]
    assert problems(home) == []


def test_what_is_forgotten_is_cut_out_however_late_its_minute_is_written(runner: Runner):
    keys, told = teach(runner.home), list[str]()
    cutter = Cutter(runner, told.append)
    cutter.start()
    everything = [Span(0.0, 60.0, "forgotten", "clip")]
    cutter.ask({0: everything})
    cutter.written(keys["disc"])
    wait_until(lambda: cutter.keys.get(0) == f"{keys['disc']}_2")
    cutter.ask({0: everything})  # nothing is left of its words, so the rest stays
    wait_until(lambda: cutter.keys.get(0) == f"{keys['disc']}_3")
    cutter.ask({0: [Span(0.0, 60.0, "forgotten")]})  # all of it
    cutter.ask({0: everything})  # of what is gone
    cutter.ask({1: everything})
    cutter.stop()
    assert (cutter.keys, len(cutter.pending)) == ({}, 1)  # the next one is being written still
    later = runner.home.videos / f"{keys['box']}.json"
    assert later.exists()
    cutter.newest, cutter.keys = 1, {1: keys["box"]}
    cutter.finish()
    assert cutter.keys == {1: f"{keys['box']}_2"}
    assert [entry.clips for entry in store.remembered(runner.home)] == [0]
    assert not told and problems(runner.home) == []


def test_a_cut_that_was_killed_halfway_is_finished_by_the_next_recording(
    runner: Runner, film: Path, monkeypatch: pytest.MonkeyPatch
):
    home, told = runner.home, list[str]()
    video = teach(home)["disc"]

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(recording.forgetting, "forget", die)
        recording.cut(runner, video, lambda sense, *_: sense == "clip", told.append)
    known = {entry.video for entry in store.remembered(home)}
    assert {video, f"{video}_2"} <= known
    source = LiveMemory(str(film), replay=True, tell=told.append)
    source.stop()
    assert list(recording.record(home, source, "learn", runner.instance, tell=told.append)) == []
    assert {entry.video for entry in store.remembered(home)} == known - {video}
    assert f"aela memory forget {video}" in told[0] and problems(home) == []


def test_a_page_is_remembered_minute_by_minute_and_its_own_word_is_not(runner: Runner):
    """It is shown a disc that it knows, says its word, hears itself and is told a new word."""
    home = runner.home
    keys = teach(home)
    told: list[str] = []
    door = Door.at("127.0.0.1", free_port())
    session = Live(runner, door, None, True, told.append, LiveSettings(minute_s=MINUTE_S))
    session.learner = None  # what learns from it is tested elsewhere
    session.start()
    with ExitStack() as closing:
        closing.callback(session.stop)
        wait_until(lambda: session.session.watcher.newest_mind is not None)
        opened = closing.enter_context(page(door))
        opened.say("begin")
        for _ in range(2):  # two looks that agree
            stamp_s = time.monotonic()
            opened.picture(stamp_s, jpeg("disc"))
            opened.wait_for("look", lambda look, at_s=stamp_s: look["at_s"] == at_s)
        [said] = [m for m in opened.told if m["type"] == "say"] or [opened.wait_for("say")]
        assert opened.sounds[said["word"]][:4] == b"RIFF"
        now_s = time.monotonic()
        opened.say("playing", word=said["word"], from_s=now_s + 1.0, to_s=now_s + 1.8)
        show(opened, 14.0, {1.1: word("disc"), 4.0: word("box")})
        kept = opened.wait_for("kept", lambda message: message["kind"] == "clip")
        assert kept["at_s"] == pytest.approx(now_s + 4.0, abs=0.8)
        reasons = [m["reason"] for m in opened.told if m["type"] == "left_out"]
        assert "own voice" in reasons
    minutes = [e for e in store.remembered(home) if e.video not in keys.values()]
    assert len(minutes) >= 2 and sum(entry.clips for entry in minutes) == 1
    assert sum(entry.clip_rejections.get("own voice", 0) for entry in minutes) == 1
    assert problems(home) == []
    partitions = runner.instance.get_dynamic_partitions("videos")
    assert {entry.video for entry in minutes} <= set(partitions)


def test_a_film_is_shown_to_pages_and_remembered(runner: Runner, film: Path):
    """A source of the server's own, and nobody shows anything."""
    door = Door.at("127.0.0.1", free_port())
    session = Live(runner, door, str(film), True, print, LiveSettings(minute_s=MINUTE_S))
    session.learner = None
    session.start()
    with ExitStack() as closing:
        closing.callback(session.stop)
        opened = closing.enter_context(page(door))
        assert opened.wait_for("state")["source"] == film.name
        opened.say("begin")  # There is nothing to begin: the server shows.
        look = opened.wait_for("look")
        assert 0 <= look["at_s"] < 7 and opened.wait_for("level")["level_db"] < 0
        kept = opened.wait_for("kept", lambda message: message["kind"] == "clip")
        assert 0 <= kept["at_s"] < 7
        assert opened.pictures and opened.pictures[0][:2] == b"\xff\xd8"
        session.recording.join(PATIENCE_S)  # The film is over.
        assert not session.recording.is_alive()
    assert sum(entry.clips for entry in store.remembered(runner.home)) == 3


def test_what_is_wrong_with_the_options_is_said_in_a_sentence(home: Home):
    run = CliRunner()
    both = run.invoke(cli.app, ["live", "--camera", "0", "--source", "x.mp4"])
    assert isinstance(both.exception, ValueError) and "not both" in str(both.exception)
    assert live.camera_source(1).count("1") >= 1
    helped = run.invoke(cli.app, ["live", "--help"])
    assert "aela live --camera 0" in " ".join(helped.output.split())


def test_a_port_that_is_taken_is_said_in_a_sentence(runner: Runner):
    door = Door.at("127.0.0.1", free_port())
    first = Live(runner, door, None, False, print)
    with pytest.raises(OSError, match="choose another address or port"):
        Live(runner, door, None, False, print)
    first.server.listening.close()


@pytest.mark.slow
def test_the_command_starts_learning_and_ends_in_order_at_ctrl_c(home: Home):
    door = Door.at("127.0.0.1", free_port())
    command = [sys.executable, "-m", "aela_dagster.cli", "live", "--port", str(door.port)]
    process = subprocess.Popen(
        [*command, "--preset", "quick", "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "AELA_HOME": str(home.root)},
    )
    try:
        wait_until(lambda: _answers(door))
        with page(door) as opened:
            opened.say("begin")
            show(opened, 10.0, {1.0: word("disc"), 4.0: word("box")})
            opened.wait_for("kept")
        folder = Path(str(home.root)) / "dagster"
        wait_until(lambda: is_learning(folder))
        assert "`aela up` or `aela live` runs on this home" in _ui_alone(home)
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == 0, output
    assert f"127.0.0.1:{door.port}" in output and "Finishing the open minute" in output
    [entry] = store.remembered(home)
    assert entry.frames >= 7 and problems(home) == []
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        assert not instance.get_daemon_heartbeats()
    assert not is_learning(folder)


@pytest.mark.slow
def test_its_daemon_ends_with_a_session_that_is_killed(home: Home):
    door = Door.at("127.0.0.1", free_port())
    command = [sys.executable, "-m", "aela_dagster.cli", "live", "--port", str(door.port)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "AELA_HOME": str(home.root)},
    )
    folder = Path(str(home.root)) / "dagster"
    try:
        wait_until(lambda: (folder / LOCK).exists() and is_learning(folder))
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not is_learning(folder))


def _ui_alone(home: Home) -> str:
    """What `aela up` prints until its UI answers, with no daemon of its own; then it is ended."""
    port = free_port()
    command = [sys.executable, "-m", "aela_dagster.cli", "up", "--port", str(port)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "AELA_HOME": str(home.root)},
    )
    try:
        wait_until(lambda: _serves(f"http://127.0.0.1:{port}/server_info"))
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
    return output


def _serves(address: str) -> bool:
    try:
        return httpx.get(address).status_code == 200
    except httpx.TransportError:
        return False


def _answers(door: Door) -> bool:
    try:
        with page(door) as opened:
            opened.wait_for("state")
    except OSError:
        return False
    return True
