"""Forgetting a video on purpose: all that shows or says it goes, and the fact of it stays.

The record `forgotten/<video>.json` is written first. From then on nobody reads the video's rows,
and whatever was interrupted afterwards is finished by forgetting it again. Checkpoints are
immutable: those that learned from it are named in the record, and no training goes on from them.
Trainings that were under way end as they would have; forgetting again names theirs, too.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from upath import UPath

from aela.memory import catalogue, store, videos
from aela.memory import manifest as manifests
from aela.memory.cache import Cache
from aela.memory.manifest import ChangedMemory
from aela.memory.videos import UnknownVideo
from aela.storage import Home, read_json, read_parquet, remove, starting, write_json

LEANS_ON = ["clip_video", "frames"]  # columns of predictions that name remembered moments


@dataclass(frozen=True)
class Forgotten:
    """What is still known of a forgotten video.

    Attributes:
        content: the hash of its rows, None if it was never ingested; frames, clips: their numbers.
        sha256, file, added: as on its record.
        forgotten: when.
        checkpoints: by model, those that learned from it, from embeddings of it or from a parent
            that did; generations: those of such checkpoints or with it in memory.
        reports: generations whose reports show it: these, and those that watched it.
        leaning: by video, how many predictions of others name a moment of it.
    """

    video: str
    sha256: str
    file: str | None
    added: str
    content: str | None
    frames: int
    clips: int
    forgotten: str
    checkpoints: dict[str, list[str]] = field(default_factory=dict)
    generations: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    leaning: dict[str, int] = field(default_factory=dict)


def all_forgotten(home: Home) -> dict[str, Forgotten]:
    """What was forgotten on purpose, by key."""
    if not home.forgotten.exists():
        return {}
    records = [Forgotten(**read_json(path)) for path in home.forgotten.glob("*.json")]
    return {record.video: record for record in sorted(records, key=lambda r: r.forgotten)}


def find(home: Home, name: str) -> str:
    """The key of a known video, or of a forgotten one, from a unique start of it.

    Raises:
        UnknownVideo: none or several start so.
    """
    known = sorted(video.video for video in videos.known(home))
    for keys in (known, sorted(all_forgotten(home))):
        matching = starting(name, keys)
        if len(matching) > 1:
            raise UnknownVideo(
                f"{name!r} is the start of several videos ({', '.join(matching[:5])}); write more "
                "of the one that is meant."
            )
        if matching:
            return matching[0]
    raise UnknownVideo(f"There is no video {name!r} in {home.root}; `aela memory ls` lists all.")


def forget(home: Home, video: str, step: Callable[[str], None] = lambda name: None) -> Forgotten:
    """Forget a video; whatever an interrupted forgetting has left is removed, too.

    Its own file, rows, rejections, embeddings, predictions and cached pictures go, the bookmarks of
    unfinished trainings on it, and what shows its moments elsewhere: spoken videos whose
    predictions lean on it, and reports of generations that learned from it, unless they were made
    without it since. Predictions of other videos stay, and so do manifests.

    Args:
        video: its whole key.
        step: told each kind of thing before it goes.

    Raises:
        UnknownVideo: there is no such video and never was.
    """
    path = _path(home, video)
    before = Forgotten(**read_json(path)) if path.exists() else None
    record = _completed(home, before or _begun(home, video))
    if record != before:
        write_json(path, asdict(record))
    for name, things in _of(home, record):
        step(name)
        for thing in things:
            remove(thing)
    step("cache")
    for content in _contents(home, record):
        Cache.of(home).forget(content)
    catalogue.forget(home)
    return record


@contextmanager
def unless_forgotten(home: Home, *made: UPath) -> Iterator[None]:
    """Around making things that show remembered moments: they go again if one was forgotten
    meanwhile, whoever came first.

    Raises:
        ChangedMemory: so it was.
    """
    before, gone = set(catalogue.names(home.forgotten)), set[str]()
    try:
        yield
    finally:  # What was begun before an error may show it, too.
        if gone := set(catalogue.names(home.forgotten)) - before:
            for thing in made:
                remove(thing)
    if gone:
        raise ChangedMemory(
            f"{', '.join(sorted(gone))} was forgotten while this was made; make it again."
        )


def marked(home: Home, model: str, checkpoint: str, manifest: str) -> bool:
    """Whether a checkpoint, trained on that manifest, learned from something forgotten since."""
    if any(checkpoint in r.checkpoints.get(model, ()) for r in all_forgotten(home).values()):
        return True
    seen = manifests.read(home, manifest)
    return manifests.remaining(home, seen) != seen


def finished(home: Home, record: Forgotten) -> bool:
    """Whether nothing is left of a video, and all that learned from it is named in the record."""
    learned = learned_from(home, set(_held(home, record.video)))
    return (
        not any(thing.exists() for _, things in _of(home, record) for thing in things)
        and not any(Cache.of(home).holds(content) for content in _contents(home, record))
        and all(set(shas) <= {*record.checkpoints.get(m, ())} for m, shas in learned.items())
    )


def _path(home: Home, video: str) -> UPath:
    return home.forgotten / f"{video}.json"


def _of(home: Home, record: Forgotten) -> Iterator[tuple[str, list[UPath]]]:
    """Kinds of things that go, in the order in which they do.

    The video's record first, so that nobody asks to ingest it again.
    """
    video = record.video
    yield "record", [home.videos / f"{video}.json", home.index / f"{video}.json"]
    rows = [home.frames(video), home.clips(video), home.rejections(video)]
    yield "rows", [*rows, *(thing for path in rows for thing in _unfinished(path))]
    folders = home.all_embeddings.iterdir() if home.all_embeddings.exists() else []
    checkpoints = [folder.name for folder in folders]
    yield (
        "embeddings",
        [
            of(checkpoint, video)
            for checkpoint in checkpoints
            for of in (home.embeddings, home.ground)
        ],
    )
    yield "bookmarks", _bookmarks(home, video)
    yield "predictions", [home.all_predictions / video]
    spoken = [
        home.spoken_video(other, generation)
        for other in record.leaning
        for generation in record.generations
    ]
    yield "spoken videos", [path for path in spoken if _made_before(path, home, record)]
    reports = [
        home.evaluation(generation)
        for generation in record.reports
        if _made_before(home.metrics(generation), home, record)
    ]
    yield "reports", reports
    if record.file is not None:
        yield "file", [home.root / record.file, *_unfinished(home.root / record.file)]


def _made_before(thing: UPath, home: Home, record: Forgotten) -> bool:
    """Whether a file was made before the video was forgotten, or never to the end."""
    if not thing.exists():
        return True
    return thing.stat().st_mtime <= _path(home, record.video).stat().st_mtime


def _bookmarks(home: Home, video: str) -> list[UPath]:
    """Where unfinished trainings on it stand; their names begin with that of the manifest."""
    held = _held(home, video)
    files = home.all_models.glob("*/unfinished/*")
    return [path for path in files if path.name.lstrip(".").partition("-")[0] in held]


def _held(home: Home, video: str) -> dict[str, str]:
    """The manifests that hold a video, and the hash of the rows that each holds of it."""
    return {
        path.stem: entry.content
        for path in home.all_manifests.glob("*.json")
        for entry in manifests.read(home, path.stem).entries
        if entry.video == video
    }


def _contents(home: Home, record: Forgotten) -> set[str]:
    """The hashes of all rows that there were of a video, which may have been captured anew."""
    held = set(_held(home, record.video).values())
    return held | {record.content} if record.content else held


def _unfinished(path: UPath) -> list[UPath]:
    """What a killed process has left of writing a file."""
    if not path.parent.exists():
        return []
    names = (f".{path.name}.part", f".{path.name[:64]}.*")  # as `aela.storage` names them
    return sorted({found for name in names for found in path.parent.glob(name)})


def _begun(home: Home, video: str) -> Forgotten:
    """The record of a video that is to be forgotten, without what came of it."""
    record = videos.find(home, video)
    entry = store.entry(home, video)
    return Forgotten(
        video=video,
        sha256=record.sha256,
        file=record.file,
        added=record.added,
        content=entry.content if entry else None,
        frames=entry.frames if entry else 0,
        clips=entry.clips if entry else 0,
        forgotten=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _completed(home: Home, record: Forgotten) -> Forgotten:
    """The record with all that came of the video until now."""
    held = set(_held(home, record.video))
    learned = learned_from(home, held)
    checkpoints = {
        model: sorted({*record.checkpoints.get(model, ()), *learned.get(model, ())})
        for model in sorted({*record.checkpoints, *learned})
    }
    shas = {sha for found in checkpoints.values() for sha in found}
    generations = {
        path.stem
        for path in home.generations.glob("*.json")
        if (values := read_json(path))["manifest"] in held
        or shas.intersection(map(str, values.values()))
    }.union(record.generations)
    watched_by = {path.stem for path in (home.all_predictions / record.video).glob("*.parquet")}
    return replace(
        record,
        checkpoints=checkpoints,
        generations=sorted(generations),
        reports=sorted({*record.reports, *generations, *watched_by}),
        leaning={**record.leaning, **_leaning(home, record.video)},
    )


def learned_from(home: Home, held: set[str]) -> dict[str, list[str]]:
    """Checkpoints by model that were trained on one of the manifests, or on top of such ones."""
    cards: dict[str, dict[str, Any]] = {
        path.stem: read_json(path) for path in home.all_models.glob("*/*.json")
    }
    marked = {sha for sha, card in cards.items() if card["manifest"] in held}
    while more := {
        sha
        for sha, card in cards.items()
        if sha not in marked and marked.intersection({card["parent"], *card["inputs"].values()})
    }:
        marked |= more
    found: dict[str, list[str]] = {}
    for sha in sorted(marked):
        found.setdefault(cards[sha]["model"], []).append(sha)
    return found


def _leaning(home: Home, video: str) -> dict[str, int]:
    """How many predictions of each other video name a moment of this one."""
    counts: dict[str, int] = {}
    for path in home.all_predictions.glob("*/*.parquet"):
        if path.parent.name == video:
            continue
        rows = read_parquet(path, LEANS_ON).to_pylist()
        number = sum(names_moment_of(row, {video}) for row in rows)
        if number:
            counts[path.parent.name] = counts.get(path.parent.name, 0) + number
    return dict(sorted(counts.items()))


def names_moment_of(prediction: dict[str, Any], of: set[str]) -> bool:
    """Whether a row of predictions leans on a clip or a frame of one of these videos."""
    return prediction["clip_video"] in of or any(f["video"] in of for f in prediction["frames"])
