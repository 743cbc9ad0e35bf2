"""A folder of labelled videos as the benchmarks use it: captured into a home, with its labels.

The folder holds videos in `train/` and `test/` and a `labels.json`, a list `videos` with, for each,
`file`, `segments` ({start, end, object, kind, word, occluded}), `utterances` ({start, end, word,
speaker}) and `blur_intervals`, in seconds. Labels only score; nothing that learns sees them. The
folder may hold silent videos in `extended/`, of other things, for the image encoder to learn from.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from aela.capture import CaptureSettings, capture
from aela.memory import store, videos
from aela.memory.videos import Role
from aela.storage import Home

SETTLED_S = 0.5  # after a segment begins, before a frame counts


@dataclass(frozen=True)
class Known:
    """What the labels say of one frame.

    `scored`: the frame counts, from half a second after its segment begins to the segment's first
    word. `group`: the video without `test_`, and "clear" or "occluded".
    """

    thing: str | None
    kind: str
    group: str
    segment: str
    scored: bool
    blurred: bool


@dataclass(frozen=True)
class Bench:
    """`keys` are the partition keys of the labelled videos, by `file`."""

    home: Home
    labels: dict
    keys: dict[str, str]

    @property
    def watched(self) -> list[str]:
        """The keys of the test videos."""
        return [key for file, key in self.keys.items() if file.startswith("test/")]

    def known(self) -> dict[str, list[Known | None]]:
        """What the labels say of each remembered frame, by key; None between segments."""
        result = {}
        for video in self.labels["videos"]:
            if key := self.keys.get(video["file"]):
                times = store.read_frames(self.home, key, ["time_s"])["time_s"].to_pylist()
                result[key] = [_know(video, time_s) for time_s in times]
        return result


def remember(home: Home, folder: Path, extended: bool = False) -> Bench:
    """Capture the train and test videos of a folder that `home` does not hold yet.

    Args:
        extended: capture the silent videos, too, to be learned from.
    """
    labels = json.loads((folder / "labels.json").read_text())
    keys = {}
    for video in labels["videos"]:
        part = video["file"].split("/")[0]
        if part in ("train", "test"):
            role = "learn" if part == "train" else "watch"
            keys[video["file"]] = _captured(home, folder / video["file"], role)
    if extended:
        for path in sorted((folder / "extended").glob("*.mp4")):
            _captured(home, path, "learn")
    return Bench(home, labels, keys)


def _captured(home: Home, path: Path, role: Role) -> str:
    """The key of a video that memory holds."""
    record = videos.take_in(home, UPath(path), role, move=False)
    if not store.content(home, record.video):
        store.remember(home, record, capture(path, CaptureSettings()))
    return record.video


def _know(labels: dict, time_s: float) -> Known | None:
    for number, segment in enumerate(labels["segments"]):
        if segment["start"] <= time_s < segment["end"]:
            words = [u["start"] for u in labels["utterances"] if u["start"] >= segment["start"]]
            end_s = min([segment["end"], *words])
            hidden = "occluded" if segment.get("occluded") else "clear"
            return Known(
                segment.get("object"),
                segment.get("kind", "known"),
                f"{Path(labels['file']).stem.removeprefix('test_')} {hidden}",
                f"{labels['file']} {number}",
                segment["start"] + SETTLED_S <= time_s < end_s,
                any(start <= time_s <= end for start, end in labels["blur_intervals"]),
            )
    return None
