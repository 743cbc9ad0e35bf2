"""A watched video again, with the system's voice over it and what it leaned on below it."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import soundfile
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageDraw, ImageFont
from upath import UPath

from aela.capture import SAMPLE_RATE_HZ, CaptureSettings
from aela.capture.source import opened, picture_stream, shown_size, sound_stream
from aela.memory import store
from aela.mimicry.sayings import Saying, sayings
from aela.storage import Home, atomic

MOST_FPS = 30.0
ASSUMED_FPS = 25.0
LEAST_WIDTH = 320  # pixels; the caption needs them
MOST_SIDE = 720  # pixels, of the shorter side
BLACK_SIZE = (480, 360)  # pixels, where there is only sound
BAND_SHARE = 0.17  # height of the caption as a share of the width
SHOWN_S = 3.0  # how long a caption stays when no other frame is looked at
SOUND_GAP_S = 0.05  # longer gaps between the sound's time stamps are filled with silence

INK, FAINT, PAPER = (235, 235, 235), (140, 140, 140), (24, 24, 28)
SPEAKING, SILENT, NOVEL = (90, 200, 120), (120, 120, 130), (230, 160, 70)


def make_spoken_video(
    source: Path,
    predictions: pa.Table,
    home: Home,
    target: UPath,
    original_volume: float = 0.3,
) -> None:
    """Write `source` as MP4 with the sounds of its predictions laid over it.

    A word is said when it is first recognised, not again while it goes on being recognised. The
    band below the picture shows the nearest remembered frame and clip, how sure the system is and
    how novel the view. `target` appears whole or not at all.

    Args:
        source: any video that capture accepts.
        predictions: its prediction table, in time order, with the columns of
            `aela.mimicry.predict.PREDICTIONS`.
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
    with tempfile.TemporaryDirectory() as folder, opened(source, CaptureSettings()) as container:
        track = Path(folder) / "track.flac"
        duration_s, audible = _mix(source, sayings(rows, home), original_volume, track)
        stage = _Stage(container, _Captions(rows, home))
        clip = VideoClip(stage.picture_at, duration=duration_s)
        if audible:
            clip = clip.with_audio(AudioFileClip(str(track)))
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
        clip.close()
        with finished.open("rb") as reader, atomic(target) as writer:
            while block := reader.read(1 << 20):
                writer.write(block)


def _mix(
    source: Path, voice: list[Saying], original_volume: float, track: Path
) -> tuple[float, bool]:
    """Write the recorded sound with the voice over it to `track`, in step with the pictures.

    Returns:
        The length of picture or sound, whichever is longer, in seconds; whether there is any sound.
    """
    picture_end_s = 0.0
    with (
        opened(source, CaptureSettings()) as container,
        soundfile.SoundFile(track, "w", SAMPLE_RATE_HZ, 2, "PCM_16") as file,
    ):
        mixer = _Mixer(file, voice)
        origin_s = (container.start_time or 0) / av.time_base
        picture, sound = picture_stream(container), sound_stream(container)
        # A mono recording goes to both sides as it is; a resampler would make it 3 dB quieter.
        channels = 1 if sound is not None and sound.channels == 1 else 2
        resampler = AudioResampler("flt", "mono" if channels == 1 else "stereo", SAMPLE_RATE_HZ)
        for packet in _packets(container, [s for s in (picture, sound) if s is not None]):
            if packet.stream is picture:
                if packet.pts is not None and packet.time_base is not None:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    picture_end_s = max(picture_end_s, end - origin_s)
                continue
            for piece in _decoded(packet):
                assert isinstance(piece, AudioFrame)
                if piece.time is not None:
                    mixer.fill_to(piece.time - origin_s - SOUND_GAP_S)
                for part in resampler.resample(piece):
                    samples = original_volume * part.to_ndarray().reshape(-1, channels)
                    mixer.add(np.repeat(samples, 2 // channels, axis=1))
        if picture is not None and picture_end_s == 0:  # no time stamps: a bare stream
            picture_end_s = (container.duration or 0) / av.time_base
        duration_s = max(picture_end_s, mixer.end_s)
        audible = sound is not None or bool(voice)
        mixer.fill_to(duration_s)
    return duration_s, audible


class _Mixer:
    """Writes stereo sound block by block, and the voice over it."""

    def __init__(self, file: soundfile.SoundFile, voice: list[Saying]) -> None:
        self.file = file
        self.voice = [(round(v.start_s * SAMPLE_RATE_HZ), v.samples) for v in voice]
        self.position = 0

    @property
    def end_s(self) -> float:
        return self.position / SAMPLE_RATE_HZ

    def fill_to(self, time_s: float) -> None:
        """Silence up to a time."""
        while (missing := round(time_s * SAMPLE_RATE_HZ) - self.position) > 0:
            self.add(np.zeros((min(missing, 10 * SAMPLE_RATE_HZ), 2), np.float32))

    def add(self, block: np.ndarray) -> None:
        """The next samples [n, 2] of the recording."""
        end = self.position + len(block)
        while self.voice and self.voice[0][0] < end:
            start, samples = self.voice.pop(0)
            offset = max(0, start - self.position)
            part = samples[: len(block) - offset]
            block[offset : offset + len(part)] += part[:, None]
            if len(part) < len(samples):
                self.voice.insert(0, (end, samples[len(part) :]))
                break
        self.file.write(block.clip(-1, 1))
        self.position = end


def _packets(container: InputContainer, streams: list[Any]) -> Iterator[av.Packet]:
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


def _decoded(packet: av.Packet) -> list[Any]:
    """What a packet holds; nothing where it is damaged."""
    try:
        return [piece for piece in packet.decode() if not piece.is_corrupt]
    except FFmpegError:
        return []


class _Stage:
    """The pictures of a video with their captions, asked for in time order."""

    def __init__(self, container: InputContainer, captions: "_Captions") -> None:
        stream = picture_stream(container)
        self.origin_s = (container.start_time or 0) / av.time_base
        self.pixel_aspect = stream.sample_aspect_ratio if stream else None
        rate = float((stream.average_rate or stream.guessed_rate or 0) if stream else 0)
        self.fps = min(rate, MOST_FPS) if rate >= 1 else ASSUMED_FPS
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
        for packet in _packets(container, [stream]):
            for frame in _decoded(packet):
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


class _Captions:
    """The band below the picture; each is drawn once."""

    def __init__(self, rows: list[dict[str, Any]], home: Home) -> None:
        self.rows = rows
        self.home = home
        self.times = np.array([row["time_s"] for row in rows])
        self.size: tuple[int, int] = (0, 0)  # set once the size of the pictures is known
        self.drawn: tuple[int, np.ndarray] | None = None

    def at(self, time_s: float) -> np.ndarray:
        """uint8 RGB [height, width, 3] of what was predicted last before a time."""
        row = int(np.searchsorted(self.times, time_s, side="right")) - 1
        if row >= 0 and time_s - self.times[row] > SHOWN_S:
            row = -1
        if self.drawn is None or self.drawn[0] != row:
            picture = Image.new("RGB", self.size, PAPER)
            self._draw(picture, self.rows[row] if row >= 0 else None)
            self.drawn = (row, np.asarray(picture))
        return self.drawn[1]

    def _draw(self, picture: Image.Image, row: dict[str, Any] | None) -> None:
        width, height = self.size
        margin = height // 12
        line = (height - 2 * margin) / 3
        font = ImageFont.load_default(line * 0.72)
        draw = ImageDraw.Draw(picture)
        if row is None:
            draw.text((margin, margin), "no sharp picture", FAINT, font)
            return
        x = margin
        if row["frames"]:
            thumbnail = self._thumbnail(row["frames"][0], height - 2 * margin)
            picture.paste(thumbnail, (margin, margin))
            x += thumbnail.width + 2 * margin
        said, colour = ("speaks", SPEAKING) if row["said"] else ("silent", SILENT)
        draw.text((x, margin), said, colour, font)
        title = "as heard in " if row["said"] else "nearest word in "
        name, at = row["clip_video"].rsplit("-", 1)[0], f", {row['clip_start_s']:.1f} s"
        while name and font.getlength(title + name + at) > width - margin - x:
            name = name[:-1]
        draw.text((x, margin + line), title + name + at, INK if row["said"] else FAINT, font)
        half = (width - margin - x) / 2
        top = margin + 2 * line
        self._bar(draw, (x, top, half - margin), "sure", row["confidence"], 1.0, SPEAKING, font)
        self._bar(draw, (x + half, top, half), "novel", row["novelty"], 1.0, NOVEL, font)

    def _bar(
        self,
        draw: ImageDraw.ImageDraw,
        place: tuple[float, float, float],
        name: str,
        value: float,
        full: float,
        colour: tuple[int, int, int],
        font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    ) -> None:
        x, y, width = place
        text = f"{name} {value:.2f} "
        draw.text((x, y), text, FAINT, font)
        start = x + font.getlength("novel 0.00  ")
        thick = self.size[1] // 12
        middle = y + self.size[1] / 7
        box = (start, middle - thick / 2, x + width, middle + thick / 2)
        draw.rectangle(box, outline=FAINT)
        share = min(max(value / full, 0.0), 1.0)
        draw.rectangle((*box[:2], start + share * (box[2] - start), box[3]), fill=colour)

    def _thumbnail(self, remembered: dict[str, Any], height: int) -> Image.Image:
        video = remembered["video"]
        times = store.read_frames(self.home, video, ["time_s"])["time_s"].to_numpy()
        row = int(np.abs(times - remembered["time_s"]).argmin())
        jpeg = store.read_row(self.home, video, "frame", row)["jpeg"]
        with Image.open(io.BytesIO(jpeg)) as picture:
            width = min(round(picture.width * height / picture.height), 2 * height)
            return picture.convert("RGB").resize((max(1, width), height))
