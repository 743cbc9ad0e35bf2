"""What waits to be sent to one tab: bounded, so that a slow one holds up nobody."""

import asyncio
import json
from collections import deque
from typing import Any

MOST_EVENTS = 256
MOST_BYTES = 8 << 20  # waiting
REPLACED = ("state", "look", "level", "picture")  # of these, only the newest is worth sending

Payload = str | bytes


class Outbox:
    """Messages for one tab, in order; of some kinds only the newest. Used in one event loop."""

    def __init__(self) -> None:
        self.newest: dict[str, Payload] = {}
        self.events: deque[Payload] = deque()
        self.waiting_bytes = 0  # of the events
        self.overflown = False
        self.ready = asyncio.Event()

    def put(self, message: dict[str, Any]) -> None:
        """Take a JSON message."""
        self._put(message["type"], json.dumps(message, allow_nan=False))

    def put_bytes(self, kind: str, data: bytes) -> None:
        """Take a binary message; `kind` says what it replaces, if anything."""
        self._put(kind, data)

    def _put(self, kind: str, payload: Payload) -> None:
        if self.overflown:
            return
        if kind in REPLACED:
            self.newest[kind] = payload
        else:
            self.events.append(payload)
            self.waiting_bytes += len(payload)
            # Events must not be lost: who cannot follow is sent away, and comes again.
            self.overflown = len(self.events) > MOST_EVENTS or self.waiting_bytes > MOST_BYTES
        self.ready.set()

    async def next(self) -> Payload | None:
        """The next message, waiting for one; None for a tab that cannot follow."""
        while not self.overflown:
            if self.events:
                payload = self.events.popleft()
                self.waiting_bytes -= len(payload)
                return payload
            for kind in REPLACED:
                if kind in self.newest:
                    return self.newest.pop(kind)
            self.ready.clear()
            await self.ready.wait()
        return None
