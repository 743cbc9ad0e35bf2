"""Pictures and sound that are handed over one by one, as from a web page, as a live source.

Pictures are JPEGs, sound is PCM, both stamped by one clock of whoever hands them over. They become
packets of a stream like that of a camera, without being encoded anew, and never wait for anybody.
"""

import io
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from PIL import Image

from aela.capture.records import UnreadableVideo

OTHER_WAIT_S = 1.0  # sound is waited for so long once there is a picture, and the other way round
MOST_WAITING_BYTES = 64 << 20
ASSUMED_RATE_HZ = 48_000  # where there is no sound by then
ASSUMED_SIZE = (640, 480)
IDLE_S = 0.1
TIME_BASE = Fraction(1, 1_000_000)


@dataclass(frozen=True)
class _Piece:
    stamp_s: float
    data: bytes
    rate_hz: int  # 0 for a picture


class Feed:
    """Takes pictures and sound from one thread and is read by another.

    A showing lasts from one `begin` to the next `begin` or `end`; each is a connection of its own.
    What comes when none has begun is passed over.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.pieces: deque[_Piece] = deque()
        self.waiting_bytes = 0
        self.showing = 0  # number of the showing; 0 while there is none
        self.begun = 0
        self.opened = 0  # number of the showing that is read
        self.rate_hz = 0  # of the sound that is read
        self.changed = threading.Condition()

    def begin(self) -> None:
        """From now on, what comes is of one clock."""
        with self.changed:
            self.begun += 1
            self._reset(self.begun)

    def end(self) -> None:
        """Nothing comes until the next beginning."""
        with self.changed:
            self._reset(0)

    def picture(self, stamp_s: float, jpeg: bytes) -> None:
        """Take a JPEG."""
        self._put(_Piece(stamp_s, jpeg, 0))

    def sound(self, stamp_s: float, samples: np.ndarray, rate_hz: int) -> None:
        """Take int16 mono samples [n]; the stamp is that of the first."""
        self._put(_Piece(stamp_s, samples.astype("<i2", copy=False).tobytes(), rate_hz))

    def open(self, stop: threading.Event) -> InputContainer:
        """Wait for a showing; its streams, of which `packets` come.

        Raises:
            UnreadableVideo: `stop` was set first.
        """
        while not stop.is_set():
            with self.changed:
                first = self._first_pieces()
                if first is not None:
                    self.opened = self.showing
                    picture, sound = first
                    self.rate_hz = sound.rate_hz if sound else ASSUMED_RATE_HZ
                    return _streams(picture.data if picture else None, self.rate_hz)
                self.changed.wait(IDLE_S)
        raise UnreadableVideo(f"{self.name} was stopped.")

    def packets(self, container: InputContainer, stop: threading.Event) -> Iterator[Packet]:
        """Packets as they come, up to the end of the showing, or to sound of another rate."""
        picture, sound = container.streams.video[0], container.streams.audio[0]
        while not stop.is_set():
            with self.changed:
                if self.showing != self.opened:
                    return
                if not self.pieces:
                    self.changed.wait(IDLE_S)
                    continue
                if self.pieces[0].rate_hz not in (0, self.rate_hz):
                    return
                piece = self.pieces.popleft()
                self.waiting_bytes -= len(piece.data)
            packet = Packet(piece.data)
            packet.stream = sound if piece.rate_hz else picture
            packet.time_base = TIME_BASE
            packet.pts = packet.dts = round(piece.stamp_s / TIME_BASE)
            packet.is_keyframe = True
            yield packet

    def _reset(self, showing: int) -> None:
        self.showing = showing
        self.pieces.clear()
        self.waiting_bytes = 0
        self.changed.notify()

    def _put(self, piece: _Piece) -> None:
        with self.changed:
            if not self.showing:
                return
            self.pieces.append(piece)
            self.waiting_bytes += len(piece.data)
            while self.waiting_bytes > MOST_WAITING_BYTES:  # Missing, and told as such.
                self.waiting_bytes -= len(self.pieces.popleft().data)
            self.changed.notify()

    def _first_pieces(self) -> tuple[_Piece | None, _Piece | None] | None:
        """The first picture and the first sound; one is None if it takes long; None for neither."""
        if not self.showing or not self.pieces:
            return None
        picture = next((piece for piece in self.pieces if not piece.rate_hz), None)
        sound = next((piece for piece in self.pieces if piece.rate_hz), None)
        span_s = self.pieces[-1].stamp_s - self.pieces[0].stamp_s
        return (picture, sound) if (picture and sound) or span_s > OTHER_WAIT_S else None


def _streams(jpeg: bytes | None, rate_hz: int) -> InputContainer:
    """A container with a stream of pictures like this one and one of sound."""
    jpeg = jpeg or _black()
    size = Image.open(io.BytesIO(jpeg)).size
    file = io.BytesIO()
    with av.open(file, "w", "matroska") as container:
        picture = container.add_stream("mjpeg")
        picture.width, picture.height = size
        picture.pix_fmt = "yuvj420p"
        sound = container.add_stream("pcm_s16le", rate=rate_hz, layout="mono")
        for stream, data in ((picture, jpeg), (sound, bytes(rate_hz // 50))):
            packet = Packet(data)
            packet.stream, packet.time_base = stream, TIME_BASE
            packet.pts = packet.dts = 0
            packet.is_keyframe = True
            container.mux(packet)
    file.seek(0)
    return av.open(file, "r", "matroska")


def _black() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", ASSUMED_SIZE).save(file, "JPEG")
    return file.getvalue()
