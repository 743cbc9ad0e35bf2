"""Sensors: they compare what lies on disk with what was made of it, and ask for the difference.

None of them counts events, so a crash, a race or a run by hand leaves nothing behind for good: the
next tick sees what is missing. No sensor decodes anything, and each asks for few runs a tick.
"""

import json
import time

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter
from upath import UPath

from aela.memory import manifest as manifests
from aela.memory import store, videos
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
MOST_HASHED_BYTES = 4 << 30  # taken in during one tick, to stay within its minute
SETTLED_S = 2.0  # a file untouched for so long, and as large as at the last tick, is whole
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp")
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
    before = json.loads(context.cursor or '{"seen": {}, "asked": []}')
    seen, hashed = {}, 0
    for role in ROLES:
        for file in _dropped(home, role):
            size, changed = file.stat().st_size, file.stat().st_mtime
            name = home.relative(file)
            same = before["seen"].get(name) == [size, changed]
            if not same or time.time() - changed < SETTLED_S or hashed > MOST_HASHED_BYTES:
                seen[name] = [size, changed]
                continue
            hashed += size
            _take_in(context, home, file, role)
    # Asked for once per drop: the same file dropped again is tried again.
    missing = {f"{video.video}:{video.added}": video.video for video in _not_ingested(home)}
    asked = [run_key for run_key in before["asked"] if run_key in missing]
    runs = [
        dg.RunRequest(run_key=run_key, partition_key=video)
        for run_key, video in missing.items()
        if run_key not in asked
    ][:MOST_REQUESTS]
    new = [run.partition_key for run in runs if run.partition_key]
    return dg.SensorResult(
        run_requests=runs,
        dynamic_partitions_requests=[common.videos.build_add_request(new)] if new else [],
        cursor=json.dumps({"seen": seen, "asked": [*asked, *(r.run_key for r in runs)]}),
        skip_reason=None if runs else "Nothing new in the inbox.",
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


def _take_in(
    context: dg.SensorEvaluationContext, home: Home, file: UPath, role: Role
) -> Video | None:
    """Take one file in; what cannot be is set aside with the reason."""
    try:
        return videos.take_in(home, file, role, move=True)
    except FileNotFoundError:
        return None  # Its owner took it back.
    except ValueError as error:
        target = home.quarantine / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
        write_bytes(home.quarantine / f"{file.name}.txt", f"{error}\n".encode())
        context.log.warning(f"{error} It was set aside as {target}.")
        return None


def _not_ingested(home: Home) -> list[Video]:
    """Recorded videos that memory does not hold yet, oldest first."""
    done = {(entry.video, entry.role) for entry in store.remembered(home)}
    return [video for video in videos.known(home) if (video.video, video.role) not in done]


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
    if waiting := [video for video in _not_ingested(home) if video.role == "learn"]:
        return dg.SkipReason(f"Waiting until {len(waiting)} videos are ingested.")
    if _in_progress(context, learn.name):
        return dg.SkipReason("A training is in progress.")
    tags = {MANIFEST_TAG: manifest.sha}
    tries = _tries(context, learn.name, tags)
    if tries == MOST_TRIES:
        return dg.SkipReason(
            f"Learning from this memory failed {MOST_TRIES} times; see why in the runs of the job "
            "learn, then launch it by hand or drop in another video."
        )
    return dg.RunRequest(run_key=f"{manifest.sha}:{tries}", tags=tags)


@dg.sensor(
    job=watch,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has the current generation look at the `watch` videos it has not looked at yet.",
)
def watching(
    context: dg.SensorEvaluationContext, memory: Memory
) -> list[dg.RunRequest] | dg.SkipReason:
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
        tries = _tries(context, watch.name, {**tags, "dagster/partition": video})
        if tries < MOST_TRIES:
            run_key = f"{video}:{generation.sha}:{tries}"
            requests.append(dg.RunRequest(run_key=run_key, partition_key=video, tags=tags))
        if len(requests) == MOST_REQUESTS:
            break
    return requests or dg.SkipReason(
        f"Watching failed {MOST_TRIES} times for {len(missing)} videos; see the runs of watch."
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
    return dg.RunRequest(run_key=sha256(canonical_json([generation.sha, done])))


def _tries(context: dg.SensorEvaluationContext, job: str, tags: dict[str, str]) -> int:
    """How many runs of `job` with these tags have ended in failure."""
    failed = RunsFilter(job_name=job, tags=tags, statuses=[DagsterRunStatus.FAILURE])
    return context.instance.get_runs_count(failed)


def _in_progress(context: dg.SensorEvaluationContext, job: str) -> bool:
    return bool(context.instance.get_runs(RunsFilter(job_name=job, statuses=RUNNING), limit=1))


SENSORS = [inbox, learning, watching, reporting]
