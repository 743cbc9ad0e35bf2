"""When a model is trained, on what, and why not yet: decided from what is known alone.

*New* is what memory holds and the current checkpoint's manifest does not, by content. So whatever
failed, raced or was done by hand before, the same question asked again has the right answer.

Image encoder and mel autoencoder learn from memory as it is now. The word autoencoder learns from
what its mel autoencoder has learned from. The associator joins what sight and hearing both know.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from aela.learning.checkpoints import Checkpoint
from aela.learning.soundness import sound
from aela.memory.manifest import Entry, Manifest
from aela.ranges import check_ranges
from aela.storage import canonical_json, sha256

SENSES: dict[str, Literal["frames", "clips"]] = {
    "image_encoder": "frames",
    "mel_autoencoder": "clips",
    "word_autoencoder": "clips",
}
"""What the rows are called that a model learns from."""


@dataclass(frozen=True)
class Conditions:
    """When new memory is learned from.

    The article trains once memory is large enough for one or two batches without using a moment
    twice (128 to 256 frames and clips with its settings), and when enough is new. The defaults
    learn from the first video at once, and from each that follows.

    Raises ValueError, in one sentence, when a value lies outside its range.
    """

    least_frames: int = 8
    """Frames that memory must hold; with fewer than 8 SwAV refuses (1 to 1,000,000)."""

    least_clips: int = 2
    """Words that memory must hold; with fewer than 2 nothing is learned (1 to 1,000,000)."""

    new_frames: int = 1
    """Frames that must be new (1 to 1,000,000)."""

    new_clips: int = 1
    """Words that must be new (1 to 1,000,000)."""

    patience_s: float = 600.0
    """Fewer are learned from, too, once the oldest new video has waited so long (0 to 1e7 s)."""

    gather_s: float = 60.0
    """How long a new video waits at most for others that are still being taken in, so that what was
    dropped together is learned together (0 to 1e7 s)."""

    def __post_init__(self) -> None:
        many = 1_000_000
        check_ranges(
            self,
            {
                "least_frames": (1, many),
                "least_clips": (1, many),
                "new_frames": (1, many),
                "new_clips": (1, many),
                "patience_s": (0, 1e7),
                "gather_s": (0, 1e7),
            },
        )


@dataclass(frozen=True)
class Speaking:
    """What the current generation is made of."""

    image_encoder: str
    word_autoencoder: str
    associator: str
    manifest: Manifest


@dataclass(frozen=True)
class Known:
    """All that the schedule goes by.

    Attributes:
        memory: of now. left_out: what is on disk and beyond its bounds; it counts neither as new
            nor as gone.
        landed: when each of its videos was dropped, seconds since 1970.
        arriving: how many videos to learn from are still being taken in.
        current: checkpoints by model; learned: what each was trained on.
        speaking: the current generation.
        withdrawn: whether the current generation speaks although one of exactly the current
            checkpoints and what they both know was made after it: it was refused, or rolled back.
    """

    memory: Manifest
    landed: Mapping[str, float] = field(default_factory=dict)
    arriving: int = 0
    current: Mapping[str, Checkpoint] = field(default_factory=dict)
    learned: Mapping[str, Manifest] = field(default_factory=dict)
    speaking: Speaking | None = None
    withdrawn: bool = False
    left_out: frozenset[Entry] = frozenset()


@dataclass(frozen=True)
class Training:
    """A training that is due: on what, on top of which checkpoints, instead of which, and why."""

    model: str
    manifest: Manifest
    inputs: dict[str, str]
    replaces: str | None
    why: str

    @property
    def key(self) -> str:
        """The same for the same work from the same start."""
        start = [self.model, self.manifest.sha, self.inputs, self.replaces]
        return sha256(canonical_json(start))


def common(memory: Manifest, seen: Manifest, heard: Manifest) -> Manifest:
    """What of memory was both seen and heard: the intersection, by content.

    A video without frames counts as seen, one without clips as heard.
    """
    by_sight, by_ear = set(seen.entries), set(heard.entries)
    return Manifest(
        tuple(
            entry
            for entry in memory.entries
            if (not entry.frames or entry in by_sight) and (not entry.clips or entry in by_ear)
        )
    )


def next_training(
    model: str,
    known: Known,
    conditions: Conditions,
    now_s: float,
    coming: Collection[str] = (),
) -> Training | str:
    """The training of `model` that is due now, or in one sentence what it waits for.

    Args:
        coming: the other models that are being trained, or will be without anything new.
    """
    if model == "word_autoencoder":
        return _words(known)
    if model == "associator":
        return _association(known, coming)
    return _sense(model, known, conditions, now_s)


def _sense(model: str, known: Known, conditions: Conditions, now_s: float) -> Training | str:
    rows = SENSES[model]
    memory, current = known.memory, known.current.get(model)
    held: int = getattr(memory, rows)
    least: int = getattr(conditions, f"least_{rows}")
    if held < least:
        return f"Memory holds {held} {rows} to learn from; it begins with {least}."
    new, gone = _difference(model, known)
    training = Training(model, memory, {}, current.sha if current else None, "")
    if current and gone:
        return _because(training, f"What it learned of {_videos(gone)} is gone or changed.")
    if current and not new:
        if sound(current.card):
            return f"It has learned from all {held} {rows} of {_videos(memory.entries)}."
        return _repeated(training)
    waited_s = now_s - min((known.landed.get(entry.video, 0.0) for entry in new), default=0.0)
    if known.arriving and waited_s < conditions.gather_s:
        return (
            f"{known.arriving} more videos are being taken in; it waits for them "
            f"{conditions.gather_s - waited_s:.0f} s at most."
        )
    number = sum(getattr(entry, rows) for entry in new)
    wanted: int = getattr(conditions, f"new_{rows}")
    if current and number < wanted and waited_s < conditions.patience_s:
        return (
            f"{number} new {rows} of {_videos(new)}; it waits for {wanted}, or "
            f"{conditions.patience_s - waited_s:.0f} s more."
        )
    return _because(training, f"{number} {rows} of {_videos(new)} are new, {held} in all.")


def _words(known: Known) -> Training | str:
    mel, words = known.current.get("mel_autoencoder"), known.current.get("word_autoencoder")
    if mel is None:
        return "It waits for the first mel_autoencoder."
    if not sound(mel.card):
        return "It waits until the mel_autoencoder passes its checks."
    if _difference("mel_autoencoder", known)[1]:
        return "It waits until the mel_autoencoder no longer knows what is gone."
    inputs = {"mel_autoencoder": mel.sha}
    manifest = known.learned["mel_autoencoder"]
    training = Training("word_autoencoder", manifest, inputs, words.sha if words else None, "")
    if words and words.card.inputs.get("mel_autoencoder") == mel.sha:
        if sound(words.card):
            return f"It has learned from the {manifest.clips} clips that the mel_autoencoder has."
        return _repeated(training)
    return _because(training, f"There is a new mel_autoencoder, of {manifest.clips} clips.")


def _association(known: Known, coming: Collection[str]) -> Training | str:
    parts = ("image_encoder", "word_autoencoder")
    for part in parts:
        if part not in known.current:
            return f"It waits for the first {part}."
        if not sound(known.current[part].card):
            return f"It waits until the {part} passes its checks."
        if _difference(part, known)[1]:
            return f"It waits until the {part} no longer knows what is gone."
    shared = common(known.memory, *(known.learned[part] for part in parts))
    if not any(entry.frames and entry.clips for entry in shared.entries):
        return "Sight and hearing have learned from no video together yet."
    inputs = {part: known.current[part].sha for part in parts}
    # It replaces what speaks: one that does not come to speak leaves the same work to be done.
    speaking = known.speaking
    replaces = speaking.associator if speaking else None
    training = Training("associator", shared, inputs, replaces, "")
    if speaking is None:
        return _because(training, f"Sight and hearing share {_videos(shared.entries)}.")
    spoken = set(speaking.manifest.entries)
    new = [entry for entry in shared.entries if entry not in spoken]
    all_there = spoken <= known.left_out.union(known.memory.entries)
    joined = (speaking.image_encoder, speaking.word_autoencoder)
    if joined == tuple(inputs.values()) and all_there and not new:
        return f"The current generation joins all {_videos(shared.entries)}."
    if all_there:  # What leans on forgotten videos is always replaced.
        if known.withdrawn:
            return (
                "What sight and hearing share was joined in a generation that was refused or "
                "rolled back; it waits for something new."
            )
        others = [model for model in SENSES if model in coming]
        if not new and others:
            return f"Sight and hearing share nothing new until {' and '.join(others)} have learned."
    if new:
        return _because(training, f"New to both sight and hearing: {_videos(new)}.")
    return _because(training, "Sight or hearing was trained anew.")


def _difference(model: str, known: Known) -> tuple[list[Entry], list[Entry]]:
    """What of memory a model has not learned from, and what it has that is not there any more."""
    rows = SENSES[model]
    there = {entry for entry in known.memory.entries if getattr(entry, rows)}
    learned = known.learned.get(model, Manifest(())).entries
    held = {entry for entry in learned if getattr(entry, rows)}
    return sorted(there - held, key=_name), sorted(held - there - known.left_out, key=_name)


def _name(entry: Entry) -> str:
    return entry.video


def _repeated(training: Training) -> Training:
    """Of what did not pass its checks. It replaces nothing: else each result that fails would make
    new work of the next try, without end where results differ, as on other devices than a CPU.
    """
    why = "Its last training did not pass its checks."
    return Training(training.model, training.manifest, training.inputs, None, why)


def _because(training: Training, why: str) -> Training:
    return Training(training.model, training.manifest, training.inputs, training.replaces, why)


def _videos(entries: Collection[Entry]) -> str:
    return "1 video" if len(entries) == 1 else f"{len(entries)} videos"
