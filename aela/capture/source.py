"""Opens videos and tells what they hold, with clear words when they cannot be used."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from aela.capture.records import UnreadableVideo, VideoInfo
from aela.capture.settings import CaptureSettings

# Only formats that hold their own media: no playlists or scripts that make the reader open
# other files or addresses.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,gif,"
    "wav,w64,aiff,flac,mp3,aac,caf,h264,hevc,mjpeg"
)
# A damaged header may name any: to resample from millions of Hz takes gigabytes, and FFmpeg mixes
# no more channels.
SAMPLE_RATES_HZ = range(1_000, 768_001)
MOST_CHANNELS = 64

MOST_PIXEL_ASPECT = 8  # a pixel's width by its height, or the other way round


@contextmanager
def opened(path: str | os.PathLike[str], settings: CaptureSettings) -> Iterator[InputContainer]:
    """The open container of a video file.

    Raises UnreadableVideo when it is missing, no media file, or larger than the settings allow.
    """
    file = Path(path)
    if file.is_dir():
        raise UnreadableVideo(f"{file} is a folder; give the path of a video file.")
    if not file.is_file():
        raise UnreadableVideo(f"{file} does not exist; check the path.")
    if file.stat().st_size == 0:
        raise UnreadableVideo(f"{file} is empty; copy or record the video again.")
    try:
        container = av.open(
            f"file:{file}",
            options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
            metadata_errors="replace",
        )
    except PermissionError as error:
        raise UnreadableVideo(f"{file} may not be read; change its permissions.") from error
    except (FFmpegError, OSError, ValueError) as error:
        raise UnreadableVideo(
            f"{file} is no readable video (damaged, cut short or another kind of file); "
            "convert it to MP4 or copy it again."
        ) from error
    with container:
        if picture_stream(container) is None and sound_stream(container) is None:
            raise UnreadableVideo(
                f"{file} holds neither pictures nor sound that can be decoded; convert it to MP4."
            )
        picture = picture_stream(container)
        if picture is not None:
            pixels = picture.codec_context.width * picture.codec_context.height
            if pixels > settings.max_pixels:
                raise UnreadableVideo(
                    f"{file} has pictures of {picture.codec_context.width} x "
                    f"{picture.codec_context.height} pixels, more than the {settings.max_pixels} "
                    "allowed; scale it down or raise max_pixels."
                )
        yield container


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The first stream of moving pictures; cover pictures of music files do not count."""
    for stream in container.streams.video:
        decodable = stream.codec_context is not None and stream.codec_context.width > 0
        if decodable and not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def another_decoder(
    path: str | os.PathLike[str], settings: CaptureSettings
) -> VideoCodecContext | None:
    """A further decoder for the pictures of a video.

    The container is closed again: for a long video its index takes tens of megabytes.
    """
    with opened(path, settings) as container:
        stream = picture_stream(container)
        return stream and stream.codec_context


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The first stream of sound."""
    for stream in container.streams.audio:
        if stream.codec_context is not None and audible(stream.codec_context):
            return stream
    return None


def audible(sound: AudioCodecContext | AudioFrame) -> bool:
    """Whether the sound has a rate and a number of channels that can be listened to."""
    return sound.sample_rate in SAMPLE_RATES_HZ and sound.layout.nb_channels <= MOST_CHANNELS


def end_of(stream: VideoStream | AudioStream) -> Packet:
    """The empty packet that makes a decoder give what it still holds."""
    packet = Packet()
    packet.stream = stream
    if stream.time_base is not None:
        packet.time_base = stream.time_base
    return packet


def shown_size(
    width: int, height: int, pixel_aspect: Fraction | None, rotation: int
) -> tuple[int, int]:
    """Width and height as shown: with square pixels, turned by a rotation in degrees.

    A pixel aspect that no camera has is a header that lies, and is passed over.
    """
    if pixel_aspect and 1 / MOST_PIXEL_ASPECT <= pixel_aspect <= MOST_PIXEL_ASPECT:
        width = max(1, round(width * pixel_aspect))
    return (height, width) if rotation % 180 == 90 else (width, height)


def probe(path: str | os.PathLike[str], settings: CaptureSettings | None = None) -> VideoInfo:
    """What a video holds, without decoding more than its first picture.

    Raises UnreadableVideo when it is missing, no media file, or larger than the settings allow.
    """
    with opened(path, settings or CaptureSettings()) as container:
        picture = picture_stream(container)
        width = height = 0
        fps = 0.0
        if picture is not None:
            rotation = 0
            try:
                first = next(container.decode(picture), None)
                rotation = first.rotation if first is not None else 0
            except FFmpegError:
                rotation = 0  # a damaged first picture; the size still holds
            width, height = shown_size(
                picture.codec_context.width,
                picture.codec_context.height,
                picture.sample_aspect_ratio,
                rotation,
            )
            fps = float(picture.average_rate or 0)
        return VideoInfo(
            duration_s=(container.duration or 0) / 1e6,
            has_picture=picture is not None,
            has_sound=sound_stream(container) is not None,
            width=width,
            height=height,
            fps=fps,
        )
