"""What a live source is, by its name, and how to connect to it."""

import os
import re
import select
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import av
from av.container import InputContainer
from av.error import ExitError, FFmpegError

from aela.capture.feed import Feed
from aela.capture.records import UnreadableVideo
from aela.capture.source import FORMATS, picture_stream, sound_stream

DEVICES = ("v4l2", "alsa", "avfoundation", "lavfi")
SCHEMES = ("rtsp", "rtsps", "http", "https")
# A playlist of a stream may name other addresses, but no files.
STREAM_PROTOCOLS = "rtsp,rtp,udp,tcp,tls,http,https,httpproxy,crypto,data"
STREAM_FORMATS = f"{FORMATS},rtsp,rtp,sdp,hls,mpjpeg,live_flv"
UNTIMED = {"mpjpeg", "mjpeg", "h264", "hevc"}  # formats without time stamps: arrival counts
# The ALSA library inside PyAV looks for its configuration where PyAV was built.
ALSA_CONFIGURATION = "/usr/share/alsa/alsa.conf"
EXAMPLES = (
    "`v4l2:/dev/video0+alsa:plughw:0` (Linux), `avfoundation:0:0?framerate=30` (macOS), "
    "`rtsp://host/path`, `https://host/path` or a named pipe"
)


@dataclass(frozen=True)
class Input:
    """One thing to connect to; a camera and a microphone are two.

    Attributes:
        name: how it is called before people: without password and query.
        kind: file: a recording that is played at its own speed; feed: what is handed over.
        options: FFmpeg's, of a device.
    """

    name: str
    kind: Literal["device", "stream", "pipe", "file", "feed"]
    address: str
    format: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    feed: Feed | None = None

    @classmethod
    def of(cls, feed: Feed) -> "Input":
        return cls(feed.name, "feed", "", feed=feed)

    @property
    def comes_and_goes(self) -> bool:
        """Whether it is waited for, however long there is nobody at the other end."""
        return self.kind in ("pipe", "feed")


def inputs(source: str, *, replay: bool = False) -> list[Input]:
    """What `source` names; devices are joined by `+`, their options follow a `?`.

    Args:
        replay: it is a file, to be played at its own speed as if it were live.

    Raises:
        UnreadableVideo: nothing that this machine can connect to.
    """
    path = Path(source)
    if replay:
        if not path.is_file():
            raise UnreadableVideo(f"{path} is no file; give the path of a recording to replay.")
        return [Input(path.name, "file", str(path))]
    if re.match(rf"({'|'.join(DEVICES)}):", source):
        return [_device(part) for part in re.split(rf"\+(?=(?:{'|'.join(DEVICES)}):)", source)]
    address = urlsplit(source)
    if address.scheme in SCHEMES:
        host = address.hostname or ""
        port = f":{address.port}" if address.port else ""
        return [Input(f"{address.scheme}://{host}{port}{address.path}", "stream", source)]
    if path.exists() and stat.S_ISFIFO(path.stat().st_mode):
        return [Input(path.name, "pipe", str(path))]
    if path.is_file():
        raise UnreadableVideo(
            f"{path} is a recording: take it in with `aela learn` or `aela watch`, or add "
            "--replay to play it as if it were live."
        )
    if path.suffix and not address.scheme:
        raise UnreadableVideo(f"There is no file {path}; give the path of a video, or {EXAMPLES}.")
    raise UnreadableVideo(f"{source!r} is no live source; give {EXAMPLES}.")


def _device(part: str) -> Input:
    kind, _, rest = part.partition(":")
    address, _, options = (rest, "", "") if kind == "lavfi" else rest.partition("?")
    try:
        av.ContainerFormat(kind, "r")
    except ValueError:
        raise UnreadableVideo(
            f"The installed PyAV has no {kind} devices; on this system give another source, such "
            "as a stream or a named pipe that ffmpeg writes to."
        ) from None
    return Input(f"{kind}:{address}", "device", address, kind, tuple(parse_qsl(options)))


def _why(error: Exception) -> str:
    if isinstance(error, ExitError):
        return "it does not answer"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class Connector:
    """Connects to an input, again and again.

    Reading gives up when nothing comes for `stall_s`; but a pipe is waited for, however long nobody
    writes to it, until `stop` is set.
    """

    def __init__(
        self, source: Input, most_pixels: int, stall_s: float, stop: threading.Event
    ) -> None:
        self.source = source
        self.most_pixels = most_pixels
        self.stall_s = stall_s
        self.stop = stop
        # Open all the time: whoever begins to write between two connections is not turned away.
        self.pipe = _Pipe(source.address, stop) if source.kind == "pipe" else None

    def close(self) -> None:
        if self.pipe is not None:
            self.pipe.close()

    def connect(self) -> InputContainer:
        """The open input; whoever calls this closes it.

        Raises:
            UnreadableVideo: there is nothing to connect to, or nothing to be seen or heard.
        """
        name, most_pixels = self.source.name, self.most_pixels
        try:
            container = self._open()
        except (FFmpegError, OSError, ValueError) as error:
            raise UnreadableVideo(
                f"Nothing can be seen or heard from {name} ({_why(error)}); check that it is "
                "switched on, free, and spelled right."
            ) from error
        picture, sound = picture_stream(container), sound_stream(container)
        wrong = None
        if picture is None and sound is None:
            wrong = "holds neither pictures nor sound that can be decoded"
        elif picture and picture.codec_context.width * picture.codec_context.height > most_pixels:
            wrong = f"has pictures of more than {most_pixels} pixels"
        if wrong:
            container.close()
            raise UnreadableVideo(f"{name} {wrong}; choose another format at its sender.")
        return container

    def _open(self) -> InputContainer:
        source, patience = self.source, (self.stall_s, self.stall_s)
        if source.feed is not None:
            return source.feed.open(self.stop)
        if self.pipe is not None:
            self.pipe.begun = False
            options = {"format_whitelist": FORMATS}
            return av.open(self.pipe, "r", options=options, metadata_errors="replace")
        if source.kind == "file":
            options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
            return av.open(f"file:{source.address}", options=options, metadata_errors="replace")
        if source.kind == "device":
            os.environ.setdefault("ALSA_CONFIG_PATH", ALSA_CONFIGURATION)
            options = dict(source.options)
            return av.open(source.address, "r", source.format, options, timeout=patience)
        options = {
            "protocol_whitelist": STREAM_PROTOCOLS,
            "format_whitelist": STREAM_FORMATS,
            "rtsp_flags": "prefer_tcp",
        }
        container = av.open(
            source.address, options=options, timeout=patience, metadata_errors="replace"
        )
        if container.format.name not in UNTIMED:
            return container
        container.close()
        options["use_wallclock_as_timestamps"] = "1"
        return av.open(source.address, options=options, timeout=patience, metadata_errors="replace")


class _Pipe:
    """A named pipe as a file that PyAV reads, film after film; nobody can block it for good."""

    def __init__(self, path: str, stop: threading.Event) -> None:
        self.handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.stop = stop
        self.begun = False

    def read(self, size: int) -> bytes:
        """At least one byte; none when the writer is gone, or at the stop."""
        while not self.stop.is_set():
            if not select.select([self.handle], [], [], 0.1)[0]:
                continue
            data = os.read(self.handle, size)
            if data or self.begun:
                self.begun = True
                return data
            time.sleep(0.1)  # Some systems call a pipe that nobody has opened yet readable.
        return b""

    def close(self) -> None:
        os.close(self.handle)
