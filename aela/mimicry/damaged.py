"""Reads on in a captured media file as far as it can be read."""

from collections.abc import Iterator
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError

from aela.capture import CaptureSettings
from aela.capture.settings import MOST_PIXELS

ANY_SIZE = CaptureSettings(max_pixels=MOST_PIXELS)  # capture has judged the file


def packets(container: InputContainer, streams: list[Any]) -> Iterator[av.Packet]:
    """The packets up to the end of the file, or to where it is damaged."""
    packets = container.demux(streams)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:  # of one more stream, which PyAV does not know
            packets = container.demux(streams)
            continue
        except FFmpegError:
            return
        if packet is None:
            return
        yield packet


def decoded(packet: av.Packet) -> list[Any]:
    """What a packet holds; nothing where it is damaged."""
    try:
        return [piece for piece in packet.decode() if not piece.is_corrupt]
    except FFmpegError:
        return []
