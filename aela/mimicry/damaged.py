"""Reads on in a media file as far as it can be read."""

from collections.abc import Iterator
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError


def packets(container: InputContainer, streams: list[Any]) -> Iterator[av.Packet]:
    """The packets up to the end of the file, or to where it is damaged."""
    packets = container.demux(streams)
    while True:
        try:
            packet = next(packets, None)
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
