"""Films a script: a moving hand-held camera looks at a thing in a room; picture and sound go
into one file."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from aela.nursery import render
from aela.nursery.rooms import NEW_ROOMS, TRAINING_ROOMS, picture_of
from aela.nursery.script import Interval, Script, Segment
from aela.nursery.settings import NurserySettings
from aela.nursery.solids import FloatArray, Surface
from aela.nursery.soundtrack import SAMPLE_RATE, mix
from aela.nursery.things import SKINS, THINGS, UNKNOWN_THINGS, Thing, hand

KEY_FRAME_SECONDS = 2
GRAIN = 2.6  # deviation of the sensor's noise, in 8-bit steps
HAND_SLIDE_SECONDS = 0.35  # how long a hand takes to come in or leave

Box = tuple[float, int, int, int, int]  # time, left, top, width, height in pixels
Series = NDArray[np.float64]  # one value per frame of a segment


def film(script: Script, settings: NurserySettings, path: Path) -> list[Box]:
    """Write the video to `path` and return the thing's box once a second.

    The file appears under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    sound = mix(script, np.random.default_rng((*script.seed, 2)))
    rng = np.random.default_rng((*script.seed, 3))
    boxes: list[Box] = []
    with av.open(unfinished, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=settings.fps)
        video.width, video.height, video.pix_fmt = settings.width, settings.height, "yuv420p"
        # One thread, so that the same frames always give the same bytes.
        video.options = {"preset": "superfast", "crf": "24", "threads": "1"}
        video.codec_context.gop_size = KEY_FRAME_SECONDS * settings.fps
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 96_000
        shown = 0
        for segment in script.segments:
            shot = _Shot(script, segment, settings, rng)
            for n in range(shot.count):
                image = av.VideoFrame.from_ndarray(shot.picture(n), format="rgb24")
                image.pts, image.time_base = shown, Fraction(1, settings.fps)
                container.mux(video.encode(image))
                heard = round(shown * SAMPLE_RATE / settings.fps)
                shown += 1
                until = round(shown * SAMPLE_RATE / settings.fps)
                chunk = av.AudioFrame.from_ndarray(
                    sound[None, heard:until], format="fltp", layout="mono"
                )
                chunk.pts, chunk.time_base = heard, Fraction(1, SAMPLE_RATE)
                chunk.sample_rate = SAMPLE_RATE
                container.mux(audio.encode(chunk))
            boxes += shot.boxes
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    unfinished.replace(path)
    return boxes


@lru_cache(maxsize=8)
def _room(name: str, width: int, height: int, seed: int) -> FloatArray:
    rooms = TRAINING_ROOMS + NEW_ROOMS
    index = [room.name for room in rooms].index(name)
    # The room stays the same through all videos of a seed.
    return picture_of(rooms[index], width, height, 1000 * seed + index)


@lru_cache(maxsize=4)
def _parts(name: str) -> tuple[list[Surface], Thing]:
    thing = next(t for t in THINGS + UNKNOWN_THINGS if t.name == name)
    return thing.build(), thing


@dataclass(frozen=True)
class _Pose:
    """How something is held, frame by frame: turn in radians, place in pixels."""

    spin: Series
    pitch: Series
    roll: Series
    x: Series
    y: Series
    scale: Series


class _Shot:
    """One segment: all movements are laid out first, then each frame is drawn."""

    def __init__(
        self,
        script: Script,
        segment: Segment,
        settings: NurserySettings,
        rng: np.random.Generator,
    ) -> None:
        fps, width, height = settings.fps, settings.width, settings.height
        self.segment, self.width, self.height, self.rng = segment, width, height, rng
        self.fps = fps
        self.count = round((segment.end - segment.start) * fps)
        self.times = segment.start + np.arange(self.count) / fps
        self.room = _room(segment.background, width, height, settings.seed)
        self.boxes: list[Box] = []
        self.light = self._light()
        self._move_camera(script.blur_intervals)
        self.thing_parts: list[Surface] = []
        if segment.object is not None:
            self.thing_parts, thing = _parts(segment.object)
            self.thing_pose = self._hold(thing)
        self.hand_parts: list[Surface] = []
        covers = [
            c for c in script.occlusion_intervals if c[0] < segment.end and c[1] > segment.start
        ]
        if segment.kind == "hand":
            self.hand_parts = hand(SKINS[rng.integers(len(SKINS))])
            self.hand_pose = self._wave()
        elif covers:
            self.hand_parts = hand(SKINS[rng.integers(len(SKINS))])
            self.hand_pose = self._cover(covers)
        samples = (height * render.SUPERSAMPLING, width * render.SUPERSAMPLING)
        self.colour = np.zeros((*samples, 3), np.float32)
        self.depth = np.empty(samples, np.float32)
        grain = GRAIN * rng.uniform(0.6, 1.4) * rng.standard_normal((height + 64, width + 64))
        self.grain = grain.astype(np.float32)

    def _wander(self, period_s: float) -> Series:
        """A smooth random movement with deviation about 1, swinging about once in `period_s`."""
        t = self.times - self.times[0]
        waves = [
            np.sin(2 * np.pi * (t / (period_s * stretch) + self.rng.random()))
            for stretch in self.rng.uniform(0.6, 1.7, 4)
        ]
        return np.sum(waves, axis=0) / math.sqrt(2)

    def _light(self) -> NDArray[np.float32]:
        """Directions towards the light (count, 3), drifting, from the upper left or right."""
        side = self.rng.choice([-1, 1]) * self.rng.uniform(0.2, 0.75)
        x = side + 0.15 * self._wander(5)
        y = self.rng.uniform(0.35, 0.7) + 0.1 * self._wander(6)
        light = np.stack([x, y, np.full_like(x, 0.7)], axis=1)
        light /= np.linalg.norm(light, axis=1, keepdims=True)
        exposure = self.rng.uniform(0.82, 1.12) * (1 + 0.08 * self._wander(4))
        warmth = self.rng.uniform(-0.09, 0.09) + 0.025 * self._wander(7)
        tint = self.rng.uniform(-0.03, 0.03)
        gains = [exposure * (1 + warmth), exposure * (1 + tint), exposure * (1 - warmth)]
        self.gains = np.stack(gains, axis=1).astype(np.float32)
        return light.astype(np.float32)

    def _move_camera(self, blur_intervals: list[Interval]) -> None:
        rng, w, h = self.rng, self.width, self.height
        pan_x = 0.07 * w * self._wander(5) + 0.004 * w * self._wander(0.45)
        pan_y = 0.045 * h * self._wander(6) + 0.005 * h * self._wander(0.4)
        self.smear = np.zeros((self.count, 2))
        for start, end in blur_intervals:
            inside = (self.times >= start) & (self.times <= end)
            if not inside.any():
                continue
            phase = np.clip((self.times - start) / (end - start), 0, 1)
            angle = rng.uniform(-0.5, 0.5) + rng.choice([0, np.pi])
            way = np.array([np.cos(angle), np.sin(angle)])
            # Out and back again, as when the hand is jolted.
            swing = 0.09 * w * np.sin(2 * np.pi * phase) * inside
            pan_x, pan_y = pan_x + way[0] * swing, pan_y + way[1] * swing
            pixels = 0.075 * w * np.maximum(np.sin(np.pi * phase), 0.45) * inside
            self.smear += pixels[:, None] * way
        self.pan_x, self.pan_y = pan_x, pan_y
        self.zoom = np.exp(0.09 * self._wander(6))
        self.roll = math.radians(3.5) * self._wander(4.5)
        centre = rng.uniform(-0.16, 0.16, 2) * (w, 0.7 * h)
        room_h, room_w = self.room.shape[:2]
        room_zoom = rng.uniform(0.95, 1.2) * self.zoom**0.6
        # What is far away moves less than what is near.
        self.view = np.stack(
            [
                room_zoom,
                self.roll,
                room_w / 2 + centre[0] - 0.7 * pan_x,
                room_h / 2 + centre[1] - 0.7 * pan_y,
            ],
            axis=1,
        )

    def _hold(self, thing: Thing) -> _Pose:
        """The thing in the middle, turning with pauses through the segment's views."""
        rng, w, h = self.rng, self.width, self.height
        along = np.linspace(0, 1, self.count)
        turns = max(1, round(self.count / self.fps / 3))
        along = along - 0.9 * np.sin(2 * np.pi * turns * along) / (2 * np.pi * turns)
        first, last = self.segment.views[0], self.segment.views[-1]
        view = first + (last - first) * along
        spin = view if thing.sway_deg == 180 else (view / 180 - 1) * thing.sway_deg
        pitch = rng.uniform(6, 24) + 7 * self._wander(5)
        roll = thing.tilt_deg + 9 * rng.standard_normal() + 5 * self._wander(6)
        long = 1.2 if abs(thing.tilt_deg) > 20 else 1.0
        share = rng.uniform(0.5, 0.74) * long
        return _Pose(
            np.radians(spin),
            np.radians(pitch),
            np.radians(roll) + self.roll,
            w / 2 + rng.uniform(-0.06, 0.06) * w + self.pan_x,
            h / 2 + rng.uniform(-0.03, 0.05) * h + self.pan_y,
            share * h / 2 * self.zoom,
        )

    def _wave(self) -> _Pose:
        """A bare hand in the middle of the picture, arm leaving at the lower rim."""
        rng, w, h = self.rng, self.width, self.height
        lean = rng.uniform(-0.6, 0.6)
        return _Pose(
            0.35 * self._wander(4),
            0.15 * self._wander(5),
            lean + 0.12 * self._wander(3) + self.roll,
            w / 2 + self.pan_x + 0.05 * w * self._wander(4),
            0.58 * h + self.pan_y,
            rng.uniform(0.5, 0.62) * h / 2 * self.zoom,
        )

    def _cover(self, intervals: list[Interval]) -> _Pose:
        """A hand that slides in front of the thing and out again; outside the intervals it is
        far below or beside the picture."""
        rng, thing = self.rng, self.thing_pose
        lean = rng.choice([-1, 1]) * rng.uniform(0.7, 1.5)
        away = np.full(self.count, 1.0)
        for start, end in intervals:
            edge = np.minimum(self.times - start, end - self.times) / HAND_SLIDE_SECONDS
            away = np.minimum(away, 1 - np.clip(edge + 0.5, 0, 1))
        away = away * away * (3 - 2 * away)
        scale = rng.uniform(0.42, 0.52) * self.height / 2 * self.zoom
        # The fingertips, 0.5 scales above the hand's centre, reach past the thing's middle.
        back = rng.uniform(0.2, 0.5) * scale + away * 1.6 * self.width
        down = 0.25 * thing.scale
        angle = lean + 0.06 * self._wander(2)
        return _Pose(
            0.25 * self._wander(4) - 0.3 * np.sign(lean),
            np.full(self.count, -0.1),
            angle,
            thing.x + np.sin(lean) * back,
            thing.y + np.cos(lean) * back + down,
            scale,
        )

    def _draw(self, parts: list[Surface], pose: _Pose, n: int, depth: float) -> None:
        turn = render.rotation(pose.spin[n], pose.pitch[n], pose.roll[n])
        place = np.array([pose.x[n], pose.y[n], pose.scale[n], depth])
        place[:3] *= render.SUPERSAMPLING
        for part in parts:
            look = part.material
            material = np.array([look.gloss, look.sharpness, look.metal])
            render.draw(
                part.points,
                part.normals,
                part.texture,
                material,
                turn,
                place,
                self.light[n],
                self.colour,
                self.depth,
            )

    def _note_box(self, n: int) -> None:
        """The box of the thing, also where a hand covers it."""
        rows, columns = np.nonzero(self.depth > render.NOTHING)
        if len(rows) == 0:
            return
        left, top = int(columns.min()) // 2, int(rows.min()) // 2
        right, bottom = int(columns.max()) // 2 + 1, int(rows.max()) // 2 + 1
        time = round(float(self.times[n]), 3)
        self.boxes.append((time, left, top, right - left, bottom - top))

    def picture(self, n: int) -> NDArray[np.uint8]:
        """Frame `n` of the segment: (height, width, 3)."""
        width, height = self.width, self.height
        self.depth.fill(render.NOTHING)
        if self.thing_parts:
            self._draw(self.thing_parts, self.thing_pose, n, 0.0)
            if n % self.fps == self.fps // 2:
                self._note_box(n)
        if self.hand_parts:
            self._draw(self.hand_parts, self.hand_pose, n, 10.0)
        covered = (self.depth[8::16, 8::16] > render.NOTHING).astype(np.float32)
        shadow = gaussian_filter(covered, 1.3)
        offset = np.array([-0.09 * self.light[n, 0], 0.03 + 0.05 * self.light[n, 1]]) * height
        lit = np.empty((height, width, 3), np.float32)
        render.compose(
            self.colour, self.depth, self.room, self.view[n], shadow, offset, self.gains[n], lit
        )
        dx, dy = self.smear[n]
        if dx or dy:
            sharp, lit = lit, np.empty_like(lit)
            render.smear(sharp, dx, dy, lit)
        out = np.empty((height, width, 3), np.uint8)
        i, j = self.rng.integers(0, 64, 2)
        render.develop(lit, self.grain[i : i + height, j : j + width], out)
        return out
