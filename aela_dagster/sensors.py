"""Sensors: they compare what lies on disk with what was made of it, and ask for the difference.

None of them counts events, so a crash, a race or a run by hand leaves nothing behind for good: the
next tick sees what is missing. No sensor decodes anything, and each asks for few runs a tick.
"""

import json
import time
from collections.abc import Iterator

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import PARTITION_NAME_TAG
from upath import UPath

from aela.memory import manifest as manifests
from aela.memory import store, videos
from aela.memory.forget import all_forgotten
from aela.memory.videos import ROLES, Role, Video
from aela.mimicry import generation as generations
from aela.mimicry.predict import predicted
from aela.storage import Home, canonical_json, read_json, sha256, write_bytes
from aela_dagster.jobs import evaluate, ingest, learn, watch
from assets import common
from resources.memory import Memory

MOST_REQUESTS = 20  # runs asked for in one tick
MOST_TRIES = 3  # of what fails again and again
MANIFEST_TAG = "aela/manifest"
GENERATION_TAG = "aela/generation"
ADDED_TAG = "aela/added"
PREDICTED_TAG = "aela/predicted"
MOST_HASHED_BYTES = 4 << 30  # taken in during one tick, to stay within its minute
SETTLED_S = 2.0  # a file untouched for so long, and as large as at the last tick, is whole
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp")
ENDED = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
RUNNING = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@dg.sensor(
    job=ingest,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes fully written files out of inbox/learn and inbox/watch and ingests them.",
)
def inbox(context: dg.SensorEvaluationContext, memory: Memory) -> dg.SensorResult:
    home = memory.home
    before: dict[str, list[float]] = json.loads(context.cursor or "{}")
    seen, hashed = {}, 0
    for role in ROLES:
        for file in _dropped(home, role):
            name, state = home.relative(file), [file.stat().st_size, file.stat().st_mtime]
            settled = before.get(name) == state and time.time() - state[1] >= SETTLED_S
            if settled and hashed <= MOST_HASHED_BYTES and _take_in(context, home, file, role):
                hashed += state[0]
            else:
                seen[name] = state
    runs = []
    for video, tags, tries in _to_ingest(context, home):
        if len(runs) == MOST_REQUESTS:
            break
        if not _in_progress(context, ingest.name, tags):
            run_key = f"{video.video}:{video.added}:{tries}"
            runs.append(dg.RunRequest(run_key=run_key, partition_key=video.video, tags=tags))
    new = [run.partition_key for run in runs if run.partition_key]
    return dg.SensorResult(
        run_requests=runs,
        dynamic_partitions_requests=[common.videos.build_add_request(new)] if new else [],
        cursor=json.dumps(seen),
        skip_reason=None if runs else _left_alone(home),
    )


def _dropped(home: Home, role: Role) -> list[UPath]:
    """Files of one inbox folder, oldest first; folders, hidden and unfinished files left alone."""
    folder = home.inbox(role)
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and path.suffix.lower() not in UNFINISHED
        and not path.is_symlink()
        and path.is_file()
    ]
    return sorted(files, key=lambda path: (path.stat().st_mtime, path.name))


def _take_in(context: dg.SensorEvaluationContext, home: Home, file: UPath, role: Role) -> bool:
    """Take one file in, or set it aside with the reason; False when it has to stay for now."""
    try:
        videos.take_in(home, file, role, move=True)
    except ValueError as error:
        target = home.quarantine / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
        write_bytes(home.quarantine / f"{file.name}.txt", f"{error}\n".encode())
        context.log.warning(f"{error} It was set aside as {target}.")
    except OSError as error:
        context.log.warning(f"{file} stays in the inbox: {error}")
        return False
    return True


def _left_alone(home: Home) -> str:
    """Why nothing is asked for, naming what lies in the inbox and is no plain file."""
    odd = [
        path.name
        for role in ROLES
        for path in home.inbox(role).iterdir()
        if path.is_symlink() or not path.is_file()
    ]
    links = f" Links and folders are left alone; copy the files: {', '.join(odd[:10])}."
    return "Nothing new in the inbox." + (links if odd else "")


def _to_ingest(
    context: dg.SensorEvaluationContext, home: Home
) -> Iterator[tuple[Video, dict[str, str], int]]:
    """Recorded videos that memory does not hold, oldest first, without those that always fail.

    Each with the tags of its ingest and how often that has failed since it was dropped.
    """
    done = {entry.video for entry in store.remembered(home)}
    for video in videos.known(home):
        if video.video in done:
            continue
        tags = {ADDED_TAG: video.added, PARTITION_NAME_TAG: video.video}
        tries = _tries(context, ingest.name, tags)
        if tries < MOST_TRIES:
            yield video, tags, tries


@dg.sensor(
    job=learn,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Learns when memory holds more than the current generation was trained on.",
)
def learning(context: dg.SensorEvaluationContext, memory: Memory) -> dg.RunRequest | dg.SkipReason:
    home = memory.home
    manifest = manifests.take(home)
    if not manifest.frames or not manifest.clips:
        return dg.SkipReason("There are no frames and words to learn from yet.")
    current = generations.current(home)
    if current and current.manifest == manifest.sha:
        return dg.SkipReason(f"Everything in memory is learned ({len(manifest.entries)} videos).")
    for video, _, _ in _to_ingest(context, home):
        if "learn" in video.roles:
            return dg.SkipReason(f"Waiting until {video.video} is ingested.")
    if _in_progress(context, learn.name, {}):
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
    done = predicted(home, generation.sha)
    missing = [e.video for e in store.remembered(home, role="watch") if e.video not in done]
    if not missing:
        return dg.SkipReason("Every watched video has the current generation's predictions.")
    requests = []
    for video in missing:
        tags = {GENERATION_TAG: generation.sha}
        tries = _tries(context, watch.name, {**tags, PARTITION_NAME_TAG: video})
        if tries < MOST_TRIES:
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


def _in_progress(context: dg.SensorEvaluationContext, job: str, tags: dict[str, str]) -> bool:
    running = RunsFilter(job_name=job, tags=tags, statuses=RUNNING)
    return bool(context.instance.get_runs(running, limit=1))


SENSORS = [inbox, learning, watching, reporting]
