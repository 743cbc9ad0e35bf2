"""Sensors: they compare what lies on disk with what was made of it, and ask for the difference.

None of them counts events, so a crash, a race or a run by hand leaves nothing behind for good: the
next tick sees what is missing. No sensor decodes anything, and each asks for few runs a tick. What
a tick costs does not grow with what is known, but for listing it: it opens only what is new, hashes
for a second at most, and asks Dagster's storage about a bounded number of videos.
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import PARTITION_NAME_TAG
from upath import UPath

from aela.memory import catalogue, store, videos
from aela.memory import manifest as manifests
from aela.memory.forget import all_forgotten
from aela.memory.videos import ROLES, NotReadYet, PatientHash, Role
from aela.mimicry import generation as generations
from aela.mimicry.predict import predicted
from aela.storage import Home, canonical_json, read_json, sha256
from aela_dagster.abandoned import end_abandoned
from aela_dagster.jobs import evaluate, ingest, learn, watch
from assets import common
from resources.memory import Memory

MOST_REQUESTS = 20  # runs asked for in one tick
MOST_TRIES = 3  # of what fails again and again
MOST_UNDER_WAY = 100  # ingests asked for and not ended; the others wait in the videos folder
LOOKED_UP = 200  # videos whose runs are asked for in one query
MOST_LOOKED_UP = 5 * LOOKED_UP  # in one tick
MANIFEST_TAG = "aela/manifest"
GENERATION_TAG = "aela/generation"
ADDED_TAG = "aela/added"
PREDICTED_TAG = "aela/predicted"
MOST_SEEN = 100  # files in the inbox that the cursor keeps for the next tick
TAKING_S = 1.0  # of a tick; a file that takes longer to read is read on at the next tick
SETTLED_S = 2.0  # a file untouched for so long, and as large as at the last tick, is whole
LEAST_FREE_BYTES = 100_000_000  # on the home's disk; below it no ingest is asked for
RETRY_S = 60.0  # until a file that could not be taken in is tried again
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp")
ENDED = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
RUNNING = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

_hashed = PatientHash()


@dg.sensor(
    job=ingest,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes fully written files out of inbox/learn and inbox/watch and ingests them.",
)
def inbox(context: dg.SensorEvaluationContext, memory: Memory) -> dg.SensorResult:
    end_abandoned(context.instance)
    home = memory.home
    dropped, left_alone = _dropped(home)
    seen = _take_in(context, home, dropped, json.loads(context.cursor or "{}"))
    under_way = context.instance.get_runs_count(RunsFilter(job_name=ingest.name, statuses=RUNNING))
    full = _full(home)
    room = 0 if full else min(MOST_REQUESTS, MOST_UNDER_WAY - under_way)
    runs = []
    for video in _to_ingest(context, home):
        if len(runs) >= room:
            break
        # Of what a killed tick has recorded, the file may still lie in the inbox.
        if not video.under_way and not (seen and videos.missing(home, video.video)):
            tags = {ADDED_TAG: video.added, PARTITION_NAME_TAG: video.video}
            run_key = f"{video.video}:{video.added}:{video.tries}"
            runs.append(dg.RunRequest(run_key=run_key, partition_key=video.video, tags=tags))
    new = [run.partition_key for run in runs if run.partition_key]
    return dg.SensorResult(
        run_requests=runs,
        dynamic_partitions_requests=[common.videos.build_add_request(new)] if new else [],
        cursor=json.dumps(seen),
        skip_reason=None if runs else full or f"{under_way} ingests are under way.{left_alone}",
    )


def _full(home: Home) -> str | None:
    """Why nothing is to be ingested for now, if the disk is nearly full."""
    if home.root.protocol:
        return None
    free = shutil.disk_usage(str(home.root)).free
    if free >= LEAST_FREE_BYTES:
        return None
    return (
        f"Only {free / 1e6:.0f} MB are free on the disk of {home.root}; once "
        f"{LEAST_FREE_BYTES / 1e6:.0f} MB are, what was dropped is ingested."
    )


class Dropped(NamedTuple):
    """A file in the inbox as it was listed; `modified` in seconds since 1970."""

    modified: float
    name: str
    role: Role
    size: int


def _dropped(home: Home) -> tuple[list[Dropped], str]:
    """The files in the inbox, oldest first, and a sentence on what is no plain file, if any.

    Hidden and unfinished files are passed over.
    """
    files, odd = [], []
    for role in ROLES:
        home.inbox(role).mkdir(parents=True, exist_ok=True)
        for found in catalogue.listing(home.inbox(role)):
            name = found["name"].rpartition("/")[2]
            if name.startswith(".") or name.lower().endswith(UNFINISHED):
                continue
            if found["type"] == "file" and not found.get("islink"):
                modified = found["mtime"] if "mtime" in found else found["LastModified"].timestamp()
                files.append(Dropped(modified, name, role, found["size"]))
            else:
                odd.append(videos.printable(name))
    links = f" Links and folders are left alone; copy the files: {', '.join(odd[:10])}."
    return sorted(files), links if odd else ""


def _take_in(
    context: dg.SensorEvaluationContext,
    home: Home,
    dropped: list[Dropped],
    before: dict[str, list[float]],
) -> dict[str, list[float]]:
    """Take in the files that are as they were before, until the time for that is over.

    Returns:
        what the next tick has to know of those that stay: by role and name their size, their time
        and when to try (again).
    """
    _hashed.deadline = time.monotonic() + TAKING_S
    now, seen, waiting = time.time(), {}, 0
    for file in dropped:
        name, state = f"{file.role}/{file.name}", [file.size, file.modified]
        *known, due = before.get(name, [0.0])
        if known == state and now < due:
            seen[name] = [*state, due]
            continue
        due = None
        settled = known == state and now - file.modified >= SETTLED_S
        if settled and time.monotonic() < _hashed.deadline:
            due = _try_to_take_in(context, home, home.inbox(file.role) / file.name, file.role)
            if due is None:
                continue
        waiting += 1
        if due or waiting <= MOST_SEEN:
            seen[name] = [*state, due or 0.0]
    return seen


def _try_to_take_in(
    context: dg.SensorEvaluationContext, home: Home, file: UPath, role: Role
) -> float | None:
    """Take one file in, or set it aside with the reason.

    Returns:
        None when it has left the inbox; else when to try again, in seconds since 1970.
    """
    try:
        if videos.mostly_holes(file):
            raise videos.NotWhole("most of it was never written, as in an unfinished download.")
        try:
            videos.take_in(home, file, role, move=True, hashed=_hashed)
        except ValueError as error:
            kept = videos.set_aside(home, file, str(error))
            context.log.warning(f"{error} It was set aside as {kept}.")
    except NotReadYet:
        return 0.0
    except OSError as error:
        name, why = (videos.printable(text) for text in (file.name, str(error)))
        context.log.warning(f"{name} stays in the inbox: {why}")
        return time.time() + RETRY_S
    return None


class ToIngest(NamedTuple):
    """A recorded video that memory does not hold.

    `tries` is how often its ingest has failed since it was dropped.
    """

    video: str
    roles: tuple[Role, ...]
    added: str
    tries: int
    under_way: bool


def _to_ingest(context: dg.SensorEvaluationContext, home: Home) -> Iterator[ToIngest]:
    """What is to be ingested, oldest first, without what always fails."""
    done = set(catalogue.names(home.index))
    missing = [video for video in videos.known(home) if video.video not in done]
    for start in range(0, min(len(missing), MOST_LOOKED_UP), LOOKED_UP):
        some = missing[start : start + LOOKED_UP]
        tags = {ADDED_TAG: [v.added for v in some], PARTITION_NAME_TAG: [v.video for v in some]}
        failed, under_way = _runs(context, ingest.name, tags)
        for video in some:
            drop = video.video, video.added
            if failed[drop] < MOST_TRIES:
                yield ToIngest(
                    video.video, video.roles, video.added, failed[drop], drop in under_way
                )


@dg.sensor(
    job=learn,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Learns when memory holds more than the current generation was trained on.",
)
def learning(context: dg.SensorEvaluationContext, memory: Memory) -> dg.RunRequest | dg.SkipReason:
    home = memory.home
    manifest = manifests.of_now(home)
    if not manifest.frames or not manifest.clips:
        return dg.SkipReason("There are no frames and words to learn from yet.")
    current = generations.current(home)
    if current and current.manifest == manifest.sha:
        return dg.SkipReason(f"Everything in memory is learned ({len(manifest.entries)} videos).")
    for video in _to_ingest(context, home):
        if "learn" in video.roles:
            return dg.SkipReason(f"Waiting until {video.video} is ingested.")
    if context.instance.get_runs_count(RunsFilter(job_name=learn.name, statuses=RUNNING)):
        return dg.SkipReason("A training is in progress.")
    tags = {MANIFEST_TAG: manifest.sha}
    tries = _tries(context, learn.name, tags)
    if tries >= MOST_TRIES:
        return dg.SkipReason(
            f"Learning from this memory failed {MOST_TRIES} times; see why in the runs of the job "
            "learn, then launch it by hand or drop in another video."
        )
    # What is forgotten may bring an older memory back: it is learned anew.
    return dg.RunRequest(
        run_key=f"{manifest.sha}:{current.sha if current else ''}:{tries}", tags=tags
    )


@dg.sensor(
    job=watch,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has the current generation look at the `watch` videos it has not looked at yet.",
)
def watching(
    context: dg.SensorEvaluationContext, memory: Memory
) -> dg.SensorResult | dg.SkipReason:
    home = memory.home
    generation = generations.current(home)
    if generation is None:
        return dg.SkipReason("Nothing is learned yet.")
    done = set(predicted(home, generation.sha))
    missing = [e.video for e in store.remembered(home, role="watch") if e.video not in done]
    if not missing:
        return dg.SkipReason("Every watched video has the current generation's predictions.")
    requests = []
    for start in range(0, min(len(missing), MOST_LOOKED_UP), LOOKED_UP):
        some = missing[start : start + LOOKED_UP]
        tags = {GENERATION_TAG: generation.sha}
        failed, _ = _runs(context, watch.name, {**tags, PARTITION_NAME_TAG: some})
        for video in some:
            tries = failed[video, generation.sha]
            if tries < MOST_TRIES and len(requests) < MOST_REQUESTS:
                run_key = f"{video}:{generation.sha}:{tries}"
                requests.append(dg.RunRequest(run_key=run_key, partition_key=video, tags=tags))
        if len(requests) == MOST_REQUESTS:
            break
    if not requests:
        return dg.SkipReason(
            f"Watching failed {MOST_TRIES} times for {len(missing)} videos; see the runs of watch."
        )
    # A home may come from another Dagster instance, which knew its partitions.
    new = [request.partition_key for request in requests if request.partition_key]
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[common.videos.build_add_request(new)],
    )


@dg.sensor(
    job=evaluate,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Evaluates the current generation once it has looked at everything watched.",
)
def reporting(context: dg.SensorEvaluationContext, memory: Memory) -> dg.RunRequest | dg.SkipReason:
    home = memory.home
    generation = generations.current(home)
    if generation is None:
        return dg.SkipReason("Nothing is learned yet.")
    watched = {entry.video for entry in store.remembered(home, role="watch")}
    done = predicted(home, generation.sha)
    if waiting := watched.difference(done):
        return dg.SkipReason(f"Waiting for predictions of {len(waiting)} videos.")
    metrics = home.evaluation(generation.sha) / "metrics.json"
    if metrics.exists() and read_json(metrics)["predicted"] == done:
        return dg.SkipReason("The report of the current generation is up to date.")
    shown = [generation.sha, done, sorted(all_forgotten(home))]
    tags = {PREDICTED_TAG: sha256(canonical_json(shown))}
    tries = _tries(context, evaluate.name, tags)
    if tries >= MOST_TRIES:
        return dg.SkipReason(f"The report failed {MOST_TRIES} times; see the runs of evaluate.")
    return dg.RunRequest(run_key=f"{tags[PREDICTED_TAG]}:{tries}", tags=tags)


def _tries(context: dg.SensorEvaluationContext, job: str, tags: dict[str, str]) -> int:
    """How many runs of `job` with these tags have failed or were canceled."""
    return context.instance.get_runs_count(RunsFilter(job_name=job, tags=tags, statuses=ENDED))


def _runs(
    context: dg.SensorEvaluationContext, job: str, tags: Mapping[str, str | Sequence[str]]
) -> tuple[Counter[tuple[str, str]], set[tuple[str, str]]]:
    """How often runs of `job` for some videos have failed, and which are under way: one query.

    Both by the video and the value of the other tag.
    """
    [other] = tags.keys() - {PARTITION_NAME_TAG}
    failed, under_way = Counter[tuple[str, str]](), set[tuple[str, str]]()
    asked = RunsFilter(job_name=job, tags=tags, statuses=[*ENDED, *RUNNING])
    for run in context.instance.get_runs(asked):
        of = run.tags[PARTITION_NAME_TAG], run.tags[other]
        if run.status in ENDED:
            failed[of] += 1
        else:
            under_way.add(of)
    return failed, under_way


SENSORS = [inbox, learning, watching, reporting]
