"""A watched video again, with the system's voice over it and what it leaned on below it."""

import contextlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from upath import UPath

from aela.capture.source import opened, picture_stream, shown_size
from aela.mimicry.captions import Captions
from aela.mimicry.damaged import ANY_SIZE, decoded, packets
from aela.mimicry.sayings import sayings
from aela.mimicry.soundtrack import mix
from aela.storage import Home, atomic

FPS = (20.0, 30.0)  # least and most: at the least, no picture is more than 25 ms beside its time
ASSUMED_FPS = 25.0
LEAST_WIDTH = 320  # pixels; the caption needs them
MOST_SIDE = 720  # pixels, of the shorter side
BLACK_SIZE = (480, 360)  # pixels, where there is only sound
BAND_SHARE = 0.17  # height of the caption as a share of the width


def make_spoken_video(
    source: Path,
    predictions: pa.Table,
    threshold: float,
    home: Home,
    target: UPath,
    original_volume: float,
) -> None:
    """Write `source` as MP4 with the sounds of its predictions laid over it.

    A word is said when it is first recognised, not again while it goes on being recognised. The
    band below the picture shows whether it speaks, surely or not, the nearest remembered frame and
    clip, and how novel the view is beside the threshold. `target` appears whole or not at all.

    Args:
        source: any video that capture accepts.
        predictions: its prediction table, in time order, with the columns of
            `aela.mimicry.predict.PREDICTIONS`.
        threshold: the novelty above which the generation that predicted stays silent.
        home: where the sounds and the remembered frames lie.
        original_volume: share of the recorded sound that stays, 0 to 1.

    Raises:
        UnreadableVideo: the source cannot be opened.
        ValueError: `original_volume` is out of range.
    """
    from moviepy import AudioFileClip, VideoClip

    if not 0 <= original_volume <= 1:
        raise ValueError(f"original_volume must lie between 0 and 1, not {original_volume}.")
    rows = predictions.to_pylist()
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(source, ANY_SIZE) as container,
        contextlib.ExitStack() as stack,
    ):
        track = Path(folder) / "track.flac"
        duration_s, audible = mix(source, sayings(rows, home), original_volume, track)
        stage = _Stage(container, Captions(rows, threshold, home))
        clip = VideoClip(stage.picture_at, duration=duration_s)
        if audible:
            sound = stack.enter_context(contextlib.closing(AudioFileClip(str(track))))
            clip = clip.with_audio(sound)
        finished = Path(folder) / "spoken.mp4"
        clip.write_videofile(
            str(finished),
            fps=stage.fps,
            codec="libx264",
            audio_codec="aac",
            preset="veryfast",
            pixel_format="yuv420p",
            ffmpeg_params=["-movflags", "+faststart"],
            temp_audiofile_path=folder,
            logger=None,
        )
        with finished.open("rb") as reader, atomic(target) as writer:
            while block := reader.read(1 << 20):
                writer.write(block)


class _Stage:
    """The pictures of a video with their captions, asked for in time order."""

    def __init__(self, container: InputContainer, captions: Captions) -> None:
        stream = picture_stream(container)
        self.origin_s = (container.start_time or 0) / av.time_base
        self.pixel_aspect = stream.sample_aspect_ratio if stream else None
        rate = float((stream.average_rate or stream.guessed_rate or 0) if stream else 0)
        self.fps = shown_fps(rate)
        self.frames = self._decode(container, stream) if stream else iter(())
        self.ahead = next(self.frames, None)
        self.size = self._size(self.ahead[1]) if self.ahead else BLACK_SIZE
        self.painter = VideoReformatter()
        self.captions = captions
        width, height = self.size
        captions.size = (width, 2 * round(BAND_SHARE * width / 2))
        self.canvas = np.zeros((height + captions.size[1], width, 3), np.uint8)

    def _size(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height, even, as shown."""
        shown = shown_size(frame.width, frame.height, self.pixel_aspect, frame.rotation)
        scale = max(min(1.0, MOST_SIDE / min(shown)), LEAST_WIDTH / shown[0])
        width, height = (max(2, 2 * round(side * scale / 2)) for side in shown)
        return width, height

    def _decode(self, container: InputContainer, stream: Any) -> Iterator[tuple[float, VideoFrame]]:
        time_s = 0.0
        stream.thread_type = "AUTO"
        for packet in packets(container, [stream]):
            for frame in decoded(packet):
                time_s = time_s if frame.time is None else frame.time - self.origin_s
                yield time_s, frame
                time_s += 1 / self.fps

    def picture_at(self, time_s: float) -> np.ndarray:
        """uint8 RGB [height, width, 3]; times must not decrease."""
        height = self.size[1]
        frame = None
        while self.ahead is not None and self.ahead[0] <= time_s + 0.5 / self.fps:
            frame = self.ahead[1]
            self.ahead = next(self.frames, None)
        if frame is not None:
            self.canvas[:height] = self._paint(frame)
        self.canvas[height:] = self.captions.at(time_s)
        return self.canvas.copy()

    def _paint(self, frame: VideoFrame) -> np.ndarray:
        turned = frame.rotation % 180 == 90
        width, height = self.size[::-1] if turned else self.size
        plane = self.painter.reformat(frame, width=width, height=height, format="rgb24")
        return np.rot90(plane.to_ndarray(), round(frame.rotation / 90))


def shown_fps(rate: float) -> float:
    """Pictures per second to show a video with that many at, each for as long as the others.

    A multiple or a fraction of its own, between the least and the most of FPS.
    """
    least, most = FPS
    if rate < 1:
        return ASSUMED_FPS
    if rate > most:
        return rate / math.ceil(rate / most - 0.01)  # 30.0003 is meant to be 30
    return rate * math.ceil(least / rate)
