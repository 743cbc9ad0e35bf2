"""A live session served on a free port, and pages that open it."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from websockets.sync.client import ClientConnection, connect

from aela.capture.feed import Feed
from aela.capture.live import LiveSettings
from aela.live.door import Door
from aela.live.memory import LiveMemory
from aela.live.server import Server
from aela.live.session import Session
from aela.storage import Home

PATIENCE_S = 120.0
NOTHING_LEARNED: dict[str, Any] = {
    "generation": None,
    "memory": {"videos": 0, "frames": 0, "clips": 0, "seconds": 0.0},
    "training": [],
}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def served(
    home: Home, *, door: Door | None = None, remembering: bool = False
) -> Iterator[tuple[Session, Door]]:
    """A session whose source is the page; what it shows is followed where `remembering`."""
    feed = Feed("the page")
    memory = LiveMemory(feed, live=LiveSettings(minute_s=60.0))
    session = Session(memory, feed, survey=lambda: NOTHING_LEARNED, cut=lambda minutes: None)
    door = door or Door.at("127.0.0.1", free_port())
    server = Server(home, session, door)
    session.watcher.start()
    following = threading.Thread(target=lambda: list(memory.minutes()), daemon=True)
    if remembering:
        following.start()
    server.start()
    try:
        yield session, door
    finally:
        server.stop()
        memory.stop()
        if remembering:
            following.join(PATIENCE_S)
        session.watcher.stop()


def until(true: Callable[[], bool]) -> None:
    """Wait for what the server does in its own time."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Page:
    """What a page does: it speaks, and waits for what it is told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self.sounds: dict[int, bytes] = {}
        self.pictures: list[bytes] = []  # of the server's own source

    def say(self, type: str, **more: Any) -> None:
        self.socket.send(json.dumps({"type": type, **more}))

    def picture(self, stamp_s: float, jpeg: bytes) -> None:
        self.socket.send(struct.pack("<Bd", 1, stamp_s) + jpeg)

    def sound(self, stamp_s: float, samples: np.ndarray, rate_hz: int = 48_000) -> None:
        pcm = (samples * 32767).astype("<i2").tobytes()
        self.socket.send(struct.pack("<BdI", 2, stamp_s, rate_hz) + pcm)

    def wait_for(
        self, type: str, enough: Callable[[dict[str, Any]], bool] = lambda message: True
    ) -> dict[str, Any]:
        """The next message of a type that is as wanted; all messages are kept in `told`."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            data = self.socket.recv(deadline - time.monotonic())
            if isinstance(data, bytes):
                kind, number = struct.unpack_from("<BI", data)
                if kind == 3:
                    self.pictures.append(data[1:])
                else:
                    self.sounds[number] = data[5:]
                continue
            message = json.loads(data)
            self.told.append(message)
            if message["type"] == type and enough(message):
                return message


@contextmanager
def page(door: Door, **options: Any) -> Iterator[Page]:
    """An open page of the server."""
    address = f"127.0.0.1:{door.port}"
    options = {"origin": f"http://{address}", "compression": None, "max_size": None, **options}
    with connect(f"ws://{address}/live", **options) as opened:
        yield Page(opened)
