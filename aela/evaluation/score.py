"""Scores predictions against labels: is the right word said, and nothing when nothing is known?

Labels are for scoring only; `aela.evaluation.labels` says how they are written.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score
from upath import UPath

from aela.evaluation.labels import KINDS, LabelledVideo, Labels, Segment, Stretch
from aela.evaluation.listeners import LISTENERS
from aela.memory import store
from aela.storage import Home

REMEMBERED = "remembered"
COLUMNS = ["time_s", "said", "confidence", "novelty", "sound"]
CLIP_COLUMNS = ["clip_video", "clip_start_s", "clip_end_s"]


@dataclass(frozen=True)
class Answer:
    """What was said, or would have been, about one frame, as a word of the labels.

    `remembered` is the word of the nearest remembered clip, None where the labels know none for
    it. `sound` is the path of the generated sound, None in silence, and `heard` what each listener
    takes it for.
    """

    time_s: float
    said: bool
    confidence: float
    novelty: float
    remembered: str | None
    sound: str | None
    heard: dict[str, str]

    def word(self, by: str) -> str | None:
        """The answer by the remembered clip (`by` is REMEMBERED) or by one of LISTENERS."""
        return self.remembered if by == REMEMBERED else self.heard.get(by)


@dataclass(frozen=True)
class Watched:
    """One labelled video and all answers to it."""

    video: str
    labels: LabelledVideo
    answers: list[Answer]

    def in_segment(self, segment: Segment) -> list[Answer]:
        return [a for a in self.answers if segment.start <= a.time_s < segment.end]

    def counting(self, segment: Segment) -> list[Answer]:
        start, end = self.labels.listening_window(segment)
        return [a for a in self.answers if start <= a.time_s < end]


def score(predictions: Sequence[Path | UPath], labels: Any, home: Home | None) -> dict[str, Any]:
    """Everything that labels can tell about prediction tables, as plain JSON values.

    A prediction counts as the word of the utterance that its remembered clip overlaps most
    ("remembered"), and, apart from that, as what each of two listeners takes its generated sound
    for, who know the remembered clips ("sound", by listener, see `listeners`).

    - `known_segments`: how many there are, in the parts that accuracies are given for.
    - `word_accuracy`: share of known segments whose most frequent answer, from 0.5 s after their
      start to their first utterance, is their word; no answer counts as wrong; of equally frequent
      answers the one given with more confidence counts. `word_accuracy_forced`: the same with the
      nearest remembered clip of every frame, said or not. `frame_accuracy_forced`: single frames
      instead of segments.
    - `precision`: answers in a known segment that name its object, of all answers. `recall`: the
      word accuracy over all known segments. Shares are None where there is nothing to share.
    - `survival`, of sounds: answers whose remembered clip is of some word, and whose sound is taken
      for that word, too. `real_words`: the listener's own test, utterances of the watched videos
      that it names right. Utterances without a clip, and videos that were learned, do not count.
    - `silence`: for each kind of other segments their number and, of those that were looked at, the
      share without any answer; and the same of their frames.
    - `novelty_auroc`: how well novelty alone tells the frames of known segments from others.

    Args:
        predictions: Parquet files of predictions, one for each video. Videos without labels are
            named under `unlabelled` and left out.
        labels: see the head of this module.
        home: where generated sounds and remembered clips lie; without it `sound` is None.

    Raises:
        ValueError: the labels are malformed, a table is no prediction table, or a video comes
            twice.
    """
    known = Labels(labels)
    watched, unlabelled = matched(predictions, known)
    if home:
        watched, real_words = _listen(watched, known, home)
    else:
        real_words = {}
    answers = [answer for w in watched for answer in w.answers]
    return {
        "videos": sorted(w.video for w in watched),
        "unlabelled": unlabelled,
        "words": known.words,
        "chance": 1 / len(known.words) if known.words else None,
        "frames": len(answers),
        "answers": sum(a.said for a in answers),
        "known_segments": {
            "all": len(_known(watched)),
            "clear": sum(not s.occluded for _, s in _known(watched)),
            "occluded": sum(s.occluded for _, s in _known(watched)),
            "by_video": {w.video: len(_known([w])) for w in watched},
        },
        "remembered": {
            **by_words(watched, REMEMBERED),
            "word_accuracy_forced": _accuracy(watched, REMEMBERED, forced=True),
            "frame_accuracy_forced": _frame_accuracy(watched),
        },
        "sound": {
            listener: {
                **by_words(watched, listener),
                "survival": _survival(answers, listener),
                "real_words": share,
            }
            for listener, share in real_words.items()
        }
        or None,
        "silence": _silence(watched),
        "novelty_auroc": {
            "background_and_hand": _novelty_auroc(watched, ("background", "hand")),
            "unknown_object": _novelty_auroc(watched, ("unknown_object",)),
        },
    }


def segments(predictions: Sequence[Path | UPath], labels: Any) -> list[dict[str, Any]]:
    """What was shown in each labelled segment and what was said to it, by the remembered clip.

    Returns:
        `video`, `start`, `end` (seconds), `kind`, `word` (None where nothing known is in view),
        `shown` (the object's name, word or kind), `said` (the word that counts as in `score`, None
        for silence), `right`: the word, or silence where nothing known was in view; `right_forced`:
        the word, had it not been allowed to be silent.

    Raises:
        ValueError: as `score`.
    """
    watched, _ = matched(predictions, Labels(labels))
    return [_segment_row(w, segment) for w in watched for segment in w.labels.segments]


def _segment_row(watched: Watched, segment: Segment) -> dict[str, Any]:
    known = segment.kind == "known"
    answers = watched.counting(segment) if known else watched.in_segment(segment)
    word = _majority(answers, REMEMBERED, forced=False)
    spoke = any(answer.said for answer in answers)
    return {
        "video": watched.video,
        "start": segment.start,
        "end": segment.end,
        "kind": segment.kind,
        "word": segment.word,
        "shown": segment.shown,
        "said": (word or "a clip without a word") if spoke else None,
        "right": word == segment.word if known else not spoke,
        "right_forced": known and _majority(answers, REMEMBERED, forced=True) == segment.word,
    }


def matched(predictions: Sequence[Path | UPath], labels: Labels) -> tuple[list[Watched], list[str]]:
    """The labelled videos with their answers, and the videos without labels."""
    tables = [_table(path) for path in predictions]
    for video, count in Counter(video for video, _ in tables).items():
        if count > 1:
            raise ValueError(f"There are {count} prediction tables of {video!r}; give one of each.")
    found = [(video, labels.watched(video), rows) for video, rows in tables]
    unlabelled = sorted(video for video, of_video, _ in found if of_video is None)
    watched = [
        Watched(video, of_video, [_answer(row, labels) for row in rows])
        for video, of_video, rows in found
        if of_video
    ]
    return watched, unlabelled


def _table(path: Path | UPath) -> tuple[str, list[dict[str, Any]]]:
    with path.open("rb") as file:
        parquet = pq.ParquetFile(file)
        missing = set(COLUMNS + CLIP_COLUMNS) - set(parquet.schema_arrow.names)
        video = (parquet.schema_arrow.metadata or {}).get(b"video")
        if missing or not video:
            lacking = ", ".join(sorted(missing)) or "the name of its video"
            raise ValueError(f"{path} is not a prediction table; it lacks {lacking}.")
        rows = parquet.read(COLUMNS + CLIP_COLUMNS, use_threads=False).to_pylist()
    return video.decode(), rows


def _answer(row: dict[str, Any], labels: Labels) -> Answer:
    return Answer(
        row["time_s"],
        row["said"],
        row["confidence"],
        row["novelty"],
        labels.word((row["clip_video"], row["clip_start_s"], row["clip_end_s"])),
        row["sound"] if row["said"] else None,
        {},
    )


def _listen(
    watched: list[Watched], labels: Labels, home: Home
) -> tuple[list[Watched], dict[str, float | None]]:
    """`watched` with what each listener hears, and each one's share of real words named right.

    Nobody listens when there are no sounds, or no remembered clips that the labels know.
    """
    remembered = store.remembered(home)
    learnt = {e.video: labels.learnt(e.video) for e in remembered if "learn" in e.roles}
    references, words = _sayings(home, learnt)
    paths = sorted({a.sound for w in watched for a in w.answers if a.sound})
    if not references or not paths:
        return watched, {}
    unknown = {e.video for e in remembered if "learn" not in e.roles}
    real, truth = _sayings(home, {w.video: w.labels for w in watched if w.video in unknown})
    sounds = [store.from_flac((home.root / path).read_bytes()) for path in paths]
    heard: dict[str, dict[str, str]] = {path: {} for path in paths}
    real_words = {}
    for name, listener in LISTENERS.items():
        named = listener([*sounds, *real], references, words)
        for path, word in zip(paths, named[: len(paths)], strict=True):
            heard[path][name] = word
        pairs = zip(named[len(paths) :], truth, strict=True)
        real_words[name] = _share(word == said for word, said in pairs)
    listened = [
        replace(w, answers=[replace(a, heard=heard[a.sound]) if a.sound else a for a in w.answers])
        for w in watched
    ]
    return listened, real_words


def _sayings(
    home: Home, videos: dict[str, LabelledVideo | None]
) -> tuple[list[np.ndarray], list[str]]:
    """The remembered clips of videos in which a labelled word is said, and the words."""
    sounds, words = [], []
    for video, of_video in videos.items():
        if of_video is None:
            continue
        for row in store.each(home, video, "clip"):
            if word := of_video.word_of(row["start_s"], row["end_s"]):
                words.append(word)
                sounds.append(store.from_flac(row["flac"]))
    return sounds, words


def by_words(watched: list[Watched], by: str) -> dict[str, Any]:
    """Word accuracy, precision and recall as `score` defines them.

    Args:
        by: REMEMBERED or one of LISTENERS, see `Answer.word`.
    """
    given = [
        (answer.word(by), w.labels.segment_at(answer.time_s))
        for w in watched
        for answer in w.answers
        if answer.said
    ]
    right = sum(segment is not None and word == segment.word for word, segment in given if word)
    accuracy = _accuracy(watched, by, forced=False)
    return {
        "word_accuracy": accuracy,
        "precision": right / len(given) if given else None,
        "right_answers": right,
        "recall": accuracy["all"],
        "per_word": _per_word(watched, by, given),
    }


def _survival(answers: list[Answer], listener: str) -> float | None:
    return _share(
        answer.word(listener) == answer.remembered
        for answer in answers
        if answer.said and answer.remembered
    )


def _majority(answers: Iterable[Answer], by: str, *, forced: bool) -> str | None:
    """The most frequent answer; None for none, and for one that the labels know no word for."""
    votes: dict[str | None, list[float]] = defaultdict(list)
    for answer in answers:
        if forced or answer.said:
            votes[answer.word(by)].append(answer.confidence)
    best = max(votes.items(), key=lambda vote: (len(vote[1]), sum(vote[1])), default=(None, []))
    return best[0]


def _known(watched: list[Watched]) -> list[tuple[Watched, Segment]]:
    return [(w, s) for w in watched for s in w.labels.segments if s.kind == "known"]


def _accuracy(watched: list[Watched], by: str, *, forced: bool) -> dict[str, Any]:
    right = [
        (w.video, s.occluded, _majority(w.counting(s), by, forced=forced) == s.word)
        for w, s in _known(watched)
    ]
    return _grouped(watched, right)


def _frame_accuracy(watched: list[Watched]) -> dict[str, Any]:
    """Frames that count, of known segments, whose nearest remembered clip is the right word."""
    right = [
        (w.video, s.occluded, answer.remembered == s.word)
        for w, s in _known(watched)
        for answer in w.counting(s)
    ]
    return _grouped(watched, right)


def _grouped(watched: list[Watched], right: list[tuple[str, bool, bool]]) -> dict[str, Any]:
    """Shares of `(video, occluded, right)`: of all, and by group."""
    return {
        "all": _share(r for _, _, r in right),
        "clear": _share(r for _, occluded, r in right if not occluded),
        "occluded": _share(r for _, occluded, r in right if occluded),
        "by_video": {
            w.video: _share(r for video, _, r in right if video == w.video) for w in watched
        },
    }


def _per_word(
    watched: list[Watched], by: str, given: list[tuple[str | None, Segment | None]]
) -> dict[str, dict[str, Any]]:
    """For each word: its segments and how often they were right, and how often it was said."""
    table: dict[str, dict[str, Any]] = {}
    for word in sorted({s.word for _, s in _known(watched) if s.word} | {g for g, _ in given if g}):
        majorities = [
            _majority(w.counting(s), by, forced=False) for w, s in _known(watched) if s.word == word
        ]
        table[word] = {
            "segments": len(majorities),
            "right": majorities.count(word),
            "answers": sum(g == word for g, _ in given),
            "right_answers": sum(g == word for g, s in given if s is not None and s.word == word),
            "taken_for": dict(Counter(m for m in majorities if m and m != word).most_common()),
        }
    return table


def _silence(watched: list[Watched]) -> dict[str, Any]:
    others = [(s.kind, w.in_segment(s)) for w in watched for s in w.labels.segments]
    table = {}
    for name, kinds in {"all": KINDS[1:], **{kind: (kind,) for kind in KINDS[1:]}}.items():
        looks = [answers for kind, answers in others if kind in kinds]
        table[name] = {
            "segments": len(looks),
            "silent_segments": _share(not any(a.said for a in seen) for seen in looks if seen),
            "frames": sum(len(answers) for answers in looks),
            "silent_frames": _share(not a.said for answers in looks for a in answers),
        }
    return table


def _novelty_auroc(watched: list[Watched], kinds: tuple[str, ...]) -> float | None:
    """Area under the ROC curve, 0.5 for chance; None where one of both sides is missing."""
    truth, novelty = [], []
    for w in watched:
        for answer in w.answers:
            segment = w.labels.segment_at(answer.time_s)
            if segment and (segment.kind == "known" or segment.kind in kinds):
                truth.append(segment.kind != "known")
                novelty.append(answer.novelty)
    return float(roc_auc_score(truth, novelty)) if len(set(truth)) == 2 else None


def word_recognition(
    videos: Iterable[str], heard: list[Stretch], similar: list[Stretch], labels: Any
) -> dict[str, Any]:
    """Ears only: for each utterance of the watched videos, is the most similar clip its word?

    Args:
        videos: those watched, by key.
        heard: the clips of them.
        similar: for each of them the remembered clip that was judged the most similar.
        labels: see the head of this module.

    Returns:
        `all` and `by_video`: shares of the utterances; one without a clip counts as wrong. An
        utterance is what the clip that overlaps it most makes of it.

    Raises:
        ValueError: the labels are malformed.
    """
    known = Labels(labels)
    by_video: dict[str, list[bool]] = {}
    for video in sorted(videos):
        watched = known.watched(video)
        if watched is None:
            continue
        by_video[video] = []
        for utterance in watched.utterances:
            overlaps = [
                (min(end, utterance.end) - max(start, utterance.start), clip)
                for (of, start, end), clip in zip(heard, similar, strict=True)
                if of == video
            ]
            overlap, clip = max(overlaps, default=(0.0, (video, 0.0, 0.0)))
            by_video[video].append(overlap > 0 and known.word(clip) == utterance.word)
    return {
        "all": _share(right for rights in by_video.values() for right in rights),
        "by_video": {video: _share(rights) for video, rights in by_video.items()},
    }


def _share(rights: Iterable[bool]) -> float | None:
    listed = list(rights)
    return sum(listed) / len(listed) if listed else None
