"""Labels: what is shown and said in videos, and when. For scoring only; nothing that learns reads
them.

They are a JSON object with `videos`, a list of `{"file": "train/cat_a.mp4", "segments": [{"start",
"end", "kind", "word", "occluded"}], "utterances": [{"start", "end", "word"}]}`, times in seconds.
`kind` is one of KINDS; `word` is null where it is not "known"; `occluded` and `object` (a name for
people) may be left out.
"""

from dataclasses import dataclass
from typing import Any

from aela.memory.videos import HASH_DIGITS, key

KINDS = ("known", "background", "hand", "unknown_object")
SETTLING_S = 0.5  # after a known segment begins, before answers count

Stretch = tuple[str, float, float]
"""A stretch of a video: its partition key, start and end in seconds."""


@dataclass(frozen=True)
class Segment:
    start: float
    end: float
    kind: str
    word: str | None
    occluded: bool
    shown: str


@dataclass(frozen=True)
class Utterance:
    start: float
    end: float
    word: str


@dataclass(frozen=True)
class LabelledVideo:
    """`file` as the labels spell it, for instance "test/test_mixed.mp4"."""

    file: str
    segments: tuple[Segment, ...]
    utterances: tuple[Utterance, ...]

    @property
    def training(self) -> bool:
        return self.file.startswith("train/")

    def segment_at(self, time_s: float) -> Segment | None:
        return next((s for s in self.segments if s.start <= time_s < s.end), None)

    def word_of(self, start_s: float, end_s: float) -> str | None:
        """The word of the utterance that `start_s` to `end_s` overlaps most, if any."""
        overlaps = [(min(u.end, end_s) - max(u.start, start_s), u.word) for u in self.utterances]
        overlap, word = max(overlaps, default=(0.0, ""))
        return word if overlap > 0 else None

    def listening_window(self, segment: Segment) -> tuple[float, float]:
        """When answers for a known segment count: before its word is heard."""
        heard = [u.start for u in self.utterances if segment.start <= u.start < segment.end]
        return segment.start + SETTLING_S, min(heard, default=segment.end)


class Labels:
    """Labels, looked up by partition key: the key's hash and what it cannot spell are ignored.

    Raises:
        ValueError: the labels are malformed; the message names the place.
    """

    def __init__(self, labels: Any) -> None:
        if not isinstance(labels, dict) or not isinstance(labels.get("videos"), list):
            raise ValueError('Labels must be a JSON object with a list "videos".')
        videos = [_video(video, f"videos[{i}]") for i, video in enumerate(labels["videos"])]
        # Where a training and a test video share a name, clips come from the one, and the other
        # is watched.
        self._learnt = {_stem(v.file): v for v in sorted(videos, key=lambda v: v.training)}
        self._watched = {_stem(v.file): v for v in sorted(videos, key=lambda v: not v.training)}
        self.words = sorted(
            {s.word for v in videos for s in v.segments if s.word}
            | {u.word for v in videos for u in v.utterances}
        )

    def watched(self, video: str) -> LabelledVideo | None:
        return self._watched.get(video[: -HASH_DIGITS - 1])

    def learnt(self, video: str) -> LabelledVideo | None:
        return self._learnt.get(video[: -HASH_DIGITS - 1])

    def word(self, clip: Stretch) -> str | None:
        """The word that is said in a remembered clip, if its video is labelled."""
        video = self.learnt(clip[0])
        return video.word_of(clip[1], clip[2]) if video else None


def _stem(file: str) -> str:
    return key(file, "0" * HASH_DIGITS)[: -HASH_DIGITS - 1]


def _video(video: Any, where: str) -> LabelledVideo:
    if not isinstance(video, dict) or not isinstance(video.get("file"), str):
        raise ValueError(f'{where} of the labels must be an object with a "file".')
    segments, utterances = video.get("segments"), video.get("utterances", [])
    if not isinstance(segments, list) or not isinstance(utterances, list):
        raise ValueError(f'{where} of the labels needs lists "segments" and "utterances".')
    return LabelledVideo(
        video["file"],
        tuple(_segment(s, f"{where}.segments[{i}]") for i, s in enumerate(segments)),
        tuple(_utterance(u, f"{where}.utterances[{i}]") for i, u in enumerate(utterances)),
    )


def _segment(segment: Any, where: str) -> Segment:
    start, end = _times(segment, where)
    kind, word = segment.get("kind"), segment.get("word")
    if kind not in KINDS:
        raise ValueError(f"{where} of the labels has the kind {kind!r}; use {', '.join(KINDS)}.")
    if kind == "known" and not (isinstance(word, str) and word):
        raise ValueError(f'{where} of the labels is of a known object and needs a "word".')
    known = kind == "known"
    shown = segment.get("object")
    if not isinstance(shown, str):
        shown = word if known else kind.replace("_", " ")
    return Segment(start, end, kind, word if known else None, bool(segment.get("occluded")), shown)


def _utterance(utterance: Any, where: str) -> Utterance:
    start, end = _times(utterance, where)
    word = utterance.get("word")
    if not isinstance(word, str) or not word:
        raise ValueError(f'{where} of the labels needs a "word".')
    return Utterance(start, end, word)


def _times(span: Any, where: str) -> tuple[float, float]:
    start, end = (span.get("start"), span.get("end")) if isinstance(span, dict) else (None, None)
    numbers = [t for t in (start, end) if isinstance(t, int | float) and not isinstance(t, bool)]
    if len(numbers) < 2 or not 0 <= numbers[0] < numbers[1]:
        raise ValueError(f'{where} of the labels needs "start" before "end", both in seconds.')
    return float(numbers[0]), float(numbers[1])
