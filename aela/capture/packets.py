"""Tells from the packets of a stream of pictures which are worth decoding."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from av.packet import Packet
from av.video.stream import VideoStream

from aela.capture.settings import CaptureSettings

KEYS_SUFFICE_S = 0.5  # key pictures this close, and two to an interval, are looked at alone
MOST_CANDIDATES_PER_S = 12  # more pictures are not looked at, unless short intervals need them
CANDIDATES_PER_INTERVAL = 4
# Pictures that no other picture is built on are not decoded where they come this densely; about
# half of the pictures are left then.
PLENTY_PER_INTERVAL = 12
CHUNK_S, MOST_IN_CHUNK = 1.0, 256  # whichever comes first: damaged time stamps may stand still
IDR = 5  # type of NAL unit


@dataclass(frozen=True)
class Chunk:
    """Packets to decode one after the other."""

    packets: list[Packet]
    plenty: bool
    """Pictures that no other picture is built on may be passed over."""
    last: bool
    """What comes next is not built on these pictures: it may be decoded elsewhere."""


def has_idr(unit: bytes, extradata: bytes) -> bool:
    """Whether an H.264 access unit holds an IDR slice: no picture after it leans on one before.

    Other key pictures of H.264 may be the beginning of a gradual refresh. ITU-T H.264, table 7-1
    (types of NAL units) and annex B; ISO/IEC 14496-15, 5.3 (units after their lengths).
    """
    if len(extradata) < 5 or extradata[0] != 1:
        return any(
            start[1][0] & 31 == IDR for start in re.finditer(rb"\x00\x00\x01(.)", unit, re.S)
        )
    size = (extradata[4] & 3) + 1
    place = 0
    while place + size < len(unit):
        if unit[place + size] & 31 == IDR:
            return True
        place += size + int.from_bytes(unit[place : place + size])
    return False


def least_spacing_s(settings: CaptureSettings) -> float:
    """Pictures closer to the one before, in seconds, are not looked at."""
    interval_s = 1 / settings.frames_per_second
    return min(1 / MOST_CANDIDATES_PER_S, interval_s / CANDIDATES_PER_INTERVAL)


class PacketChooser:
    """Takes packets in decoding order and yields chunks of those worth decoding, in order.

    A group is a key picture with the pictures built on it, up to the next key picture. Of a short
    group the key picture is chosen, of a long one all. Holds the packets of one chunk.
    """

    def __init__(self, stream: VideoStream, settings: CaptureSettings, step_s: float) -> None:
        """`step_s` lies between pictures whose packets have no time stamps."""
        self.step_s = step_s
        self.is_h264 = stream.codec_context.name == "h264"
        self.extradata = stream.codec_context.extradata or b""
        self.interval_s = 1 / settings.frames_per_second
        self.short_s = min(KEYS_SUFFICE_S, self.interval_s / 2)
        self.spacing_s = least_spacing_s(settings)
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
        elif packet.is_keyframe and (not self.is_h264 or has_idr(bytes(packet), self.extradata)):
            if self.begun or not 0 <= time_s - self.start_s <= self.short_s:
                yield from self._end_group()
            else:
                yield from self._key_alone()
            self.group, self.start_s = [packet], time_s
        else:
            self.group.append(packet)
            short = 0 <= time_s - self.start_s < CHUNK_S and len(self.group) < MOST_IN_CHUNK
            if not short:
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
