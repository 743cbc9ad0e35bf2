"""Tells from the packets of a stream of pictures which are worth decoding."""

from collections.abc import Iterator
from dataclasses import dataclass

from av.packet import Packet

from aela.capture.settings import CaptureSettings

KEYS_SUFFICE_S = 0.5  # key pictures this close, and two to an interval, are looked at alone ...
MOST_KEYS_PER_S = 12  # ... and not more of them, unless short intervals need them
KEYS_PER_INTERVAL = 4
# Pictures that no other picture is built on are not decoded where they come this densely; about
# half of the pictures are left then.
PLENTY_PER_INTERVAL = 12
CHUNK_S = 1.0


@dataclass(frozen=True)
class Chunk:
    """Packets to decode one after the other."""

    packets: list[Packet]
    plenty: bool
    """Pictures that no other picture is built on may be passed over."""
    last: bool
    """What comes next is not built on these pictures: it may be decoded elsewhere."""


class PacketChooser:
    """Takes packets in decoding order and yields chunks of those worth decoding, in order.

    A group is a key picture with the pictures built on it, up to the next key picture. Of a short
    group the key picture is chosen, of a long one all. Holds the packets of one chunk.
    """

    def __init__(self, settings: CaptureSettings, step_s: float) -> None:
        """`step_s` lies between pictures whose packets have no time stamps."""
        self.step_s = step_s
        self.interval_s = 1 / settings.frames_per_second
        self.short_s = min(KEYS_SUFFICE_S, self.interval_s / 2)
        self.spacing_s = min(1 / MOST_KEYS_PER_S, self.interval_s / KEYS_PER_INTERVAL)
        self.group: list[Packet] = []  # what is not yet yielded of it
        self.begun = False  # some of it is yielded
        self.start_s = 0.0  # of what is not
        self.last_s = 0.0
        self.key_s = -float("inf")  # of the last key picture that was chosen alone

    def push(self, packet: Packet) -> Iterator[Chunk]:
        """Takes the next packet; an empty one ends the stream."""
        time_s = self.last_s + self.step_s
        if packet.dts is not None and packet.time_base is not None:
            time_s = float(packet.dts * packet.time_base)
        if packet.size == 0:
            yield from self._end_group()
        elif packet.is_keyframe:
            if self.begun or not 0 <= time_s - self.start_s <= self.short_s:
                yield from self._end_group()
            else:
                yield from self._key_alone()
            self.group, self.start_s = [packet], time_s
        else:
            self.group.append(packet)
            if not 0 <= time_s - self.start_s < CHUNK_S:
                yield self._chunk(time_s, last=False)
                self.group, self.start_s, self.begun = [], time_s, True
        self.last_s = time_s

    def _key_alone(self) -> Iterator[Chunk]:
        if self.group and not 0 <= self.start_s - self.key_s < self.spacing_s:
            self.key_s = self.start_s
            yield Chunk(self.group[:1], plenty=False, last=True)

    def _end_group(self) -> Iterator[Chunk]:
        if self.group or self.begun:
            yield self._chunk(self.last_s, last=True)
        self.group, self.begun = [], False

    def _chunk(self, end_s: float, *, last: bool) -> Chunk:
        """What is held, up to a packet that is stamped with end_s."""
        step_s = (end_s - self.start_s) / len(self.group) if self.group else 0.0
        plenty = 0 < step_s * PLENTY_PER_INTERVAL <= self.interval_s
        return Chunk(self.group, plenty, last)
