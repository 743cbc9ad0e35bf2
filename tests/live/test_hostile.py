"""Hostile messages close their own socket at most, and the server stays as it is.

Five hundred of them always, ten thousand among the slow tests.
"""

import gc
import json
import random
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from aela.live import messages
from aela.live.door import Door
from aela.live.server import MOST_CONNECTIONS
from aela.storage import Home
from aela_dagster.live import give_back_memory
from tests.live.pages import page, served
from tests.live.speaking import jpeg
from tests.live.test_messages import as_jpeg, claims

HOSTILE = 10_000
MOST_GROWTH_BYTES = 50 << 20


def hostile(rng: random.Random) -> Iterator[str | bytes]:
    """Endless messages that no page sends, and some that one might."""
    picture = jpeg("disc")
    progressive, wide = as_jpeg(64, 48, progressive=True), as_jpeg(3000, 20)
    while True:
        stamp_s = rng.choice([0.0, -1.0, float("nan"), float("inf"), 1e300, 5.0, 5e-324])
        head = struct.pack("<Bd", 1, stamp_s)
        sound = struct.pack("<BdI", 2, stamp_s, rng.choice([0, 1, 8_000, 48_000, 2**32 - 1]))
        yield rng.choice(
            [
                rng.randbytes(rng.randrange(200)),
                rng.randbytes(rng.choice([4_000, 300_000])) if rng.random() < 0.05 else b"\x01",
                head + picture[: rng.randrange(len(picture))],
                head + picture[:200] + rng.randbytes(400),
                head + claims(rng.choice([1, 65_535]), rng.choice([1, 65_535])),
                head + rng.choice([progressive, wide, b"", b"\xff\xd8\xff\xd9"]),
                sound + rng.randbytes(rng.randrange(4_000)),
                bytes([rng.randrange(256)]) + rng.randbytes(20),
                rng.choice(["", "null", "[]", "{", "{}", '"begin"', "[" * 4_000, "{" * 4_000]),
                json.dumps({"type": rng.choice(["begin", "learn", "playing", "x", None, 5])}),
                json.dumps({"type": "playing", "from_s": rng.choice([1e308, -5, "0"]), "to_s": 0}),
                '{"type":"ping","at_s":NaN}',
                '{"type":"dropped","pictures":' + "9" * rng.randrange(1, 4_000) + "}",
                "\N{PILE OF POO}" * rng.randrange(4_000),
                "x" * rng.randrange(1, 20_000),
            ]
        )


def resident() -> int:
    """Bytes in use by this process, without what was freed and is kept for later."""
    gc.collect()
    give_back_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def send(door: Door, count: int, seed: int) -> int:
    """Send hostile messages, each of which is taken or ends its socket; how many ended it."""
    stream, sent, ended = hostile(random.Random(seed)), 0, 0
    while sent < count:
        try:
            with page(door, close_timeout=5) as opened:
                opened.say("begin", take=True)
                while sent < count:
                    sent += 1
                    opened.socket.send(next(stream))
                    opened.say("ping", at_s=float(sent))
                    opened.wait_for("pong")
                    opened.told.clear()
        except (ConnectionClosed, OSError):
            ended += 1
    return ended


@pytest.mark.parametrize(
    "count", [HOSTILE // 20, pytest.param(HOSTILE, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_hostile_messages_close_their_socket_alone(home: Home, count: int):
    reading = {"max_queue": None, "ping_interval": None}  # all the time, in the background
    with served(home, remembering=True) as (session, door), page(door, **reading) as friend:
        friend.wait_for("state")
        send(door, count, seed=1)  # fills what is bounded; as many again leave it as it is
        before = resident()
        assert send(door, count, seed=2) > count / 2
        assert resident() - before < MOST_GROWTH_BYTES
        friend.say("ping", at_s=1.0)
        friend.wait_for("pong")
        friend.say("begin", take=True)
        friend.picture(1.0, jpeg("disc"))
        friend.wait_for("look", lambda look: look["at_s"] == 1.0)
        assert len(session.tabs) <= 2


def test_a_flood_ends_its_socket(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aela.live.server.RATE", (1.0, 50.0))  # also a slow machine is faster
    with served(home) as (_, door), page(door) as friend:
        with pytest.raises(ConnectionClosed, match="more than a page does"), page(door) as opened:
            for number in range(200):
                opened.say("ping", at_s=float(number))
            opened.wait_for("nothing")
        friend.say("ping", at_s=1.0)
        friend.wait_for("pong")


def test_a_message_that_is_too_large_is_not_even_taken(home: Home):
    with served(home) as (_, door):
        with pytest.raises(ConnectionClosed), page(door) as opened:
            opened.socket.send(bytes(messages.MOST_BYTES + 1))
            opened.wait_for("pong")
        with page(door) as again:
            again.wait_for("state")


def test_who_never_ends_a_request_is_sent_away(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("aela.live.server.HTTP_S", 1.0)
    with served(home) as (_, door):
        lingering = [socket.create_connection(("127.0.0.1", door.port)) for _ in range(20)]
        for one in lingering:
            one.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ")
        for one in lingering:
            one.settimeout(30)
            assert one.recv(1) == b""
            one.close()
        with page(door) as opened:
            opened.wait_for("state")


def test_so_many_connections_and_no_more(home: Home):
    with served(home) as (_, door):
        address = ("127.0.0.1", door.port)
        lingering = [socket.create_connection(address) for _ in range(2 * MOST_CONNECTIONS)]
        time.sleep(0.5)
        sent_away = 0
        for one in lingering:
            one.setblocking(False)
            try:
                sent_away += one.recv(1) == b""
            except ConnectionResetError:
                sent_away += 1
            except BlockingIOError:
                pass
            one.close()
        assert sent_away >= MOST_CONNECTIONS - 1
        with page(door) as opened:
            opened.wait_for("state")
