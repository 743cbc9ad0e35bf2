"""Words on this machine's own loudspeaker, in place of which a test listens."""

import threading

import pytest

from aela.live.speaker import Speaker
from aela.live.watcher import Word
from tests.live.pages import PATIENCE_S


def word(name: str) -> Word:
    return Word(number=0, wav=name.encode())


def test_what_comes_while_a_word_is_played_is_left_out(monkeypatch: pytest.MonkeyPatch):
    played: list[bytes] = []
    begun, over = threading.Semaphore(0), threading.Semaphore(0)

    def play(wav: bytes, device: str) -> None:
        played.append(wav)
        begun.release()
        over.acquire(timeout=PATIENCE_S)

    monkeypatch.setattr("aela.live.speaker.play", play)
    speaker = Speaker(tell=lambda sentence: None)
    speaker.start()
    for name in ("cup", "pen"):
        speaker.say(word(name))
        assert begun.acquire(timeout=PATIENCE_S)
        speaker.say(word("late"))
        over.release()
        speaker.words.join()
    speaker.stop()
    assert played == [b"cup", b"pen"]


def test_a_machine_without_a_loudspeaker_says_so_once(monkeypatch: pytest.MonkeyPatch):
    def play(wav: bytes, device: str) -> None:
        raise OSError("no such device")

    monkeypatch.setattr("aela.live.speaker.play", play)
    told: list[str] = []
    speaker = Speaker(told.append)
    speaker.start()
    for _ in range(2):
        speaker.say(word("cup"))
        speaker.words.join()
    speaker.stop()
    assert len(told) == 1 and "open the page" in told[0]
