"""Sensors: they compare what lies on disk with what was made of it, and ask for the difference.

None of them counts events, so a crash, a race or a run by hand leaves nothing behind for good: the
next tick sees what is missing. No sensor decodes anything, and each asks for few runs a tick. What
a tick costs does not grow with what is known, but for listing it: it opens only what is new, hashes
for a second at most, and asks Dagster's storage about a bounded number of videos.
"""

import fcntl
import json
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple

import dagster as dg
from dagster import RunsFilter
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG
from upath import UPath

from aela.memory import catalogue, store, videos
from aela.memory import manifest as manifests
from aela.memory.forget import all_forgotten
from aela.memory.videos import ROLES, NotReadYet, PatientHash, Role
from aela.mimicry import generation as generations
from aela.mimicry.predict import predicted
from aela.storage import Home, canonical_json, read_json, sha256
from aela_dagster import plan, records
from aela_dagster.abandoned import end_abandoned
from aela_dagster.jobs import TRAINING, evaluate, ingest, ingest_and_watch
from aela_dagster.plan import ADDED_TAG, GENERATION_TAG, TRAINING_TAG, ToIngest
from aela_dagster.records import MOST_TRIES, VIDEOS_TAG
from aela_dagster.ticks import looks, sensor
from aela_dagster.watch import look, watch
from assets import common
from resources.memory import Memory
from resources.schedule import Schedule

# Seconds between ticks. Dagster looks every five seconds which are due; with a second less, none
# slips to its next look.
INBOX_S, LEARNING_S, WATCHING_S, REPORTING_S = 4, 14, 29, 59
INGESTS = (ingest.name, ingest_and_watch.name)
MOST_REQUESTS = 20  # runs asked for in one tick, or videos watched in one run
MOST_UNDER_WAY = 100  # ingests asked for and not ended; the others wait in the videos folder
PREDICTED_TAG = "aela/predicted"
WHY_TAG = "aela/why"
MOST_SEEN = 100  # files in the inbox that the cursor keeps for the next tick
TAKING_S = 1.0  # of a tick; a file that takes longer to read is read on at the next tick
SETTLED_S = 2.0  # a file untouched for so long, and open or changing nowhere, is whole
LEAST_FREE_BYTES = 100_000_000  # on the home's disk; below it no ingest is asked for
RETRY_S = 60.0  # until a file that could not be taken in is tried again
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".tmp")

_hashed = PatientHash()


def _one_is_dropped(context: dg.SensorEvaluationContext) -> bool:
    """Whether something is dropped shortly into an inbox that is empty. Looking into a folder costs
    next to nothing; into one of an object store, it is left to the next tick.
    """
    home = context.resources.memory.home
    if home.root.protocol or _dropped(home)[0]:
        return False
    return any(_dropped(home)[0] for _ in looks())


@sensor(
    again=_one_is_dropped,
    jobs=[ingest, ingest_and_watch],
    minimum_interval_seconds=INBOX_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes fully written files out of inbox/learn and inbox/watch and ingests them.",
)
def inbox(context: dg.SensorEvaluationContext, memory: Memory) -> dg.SensorResult:
    end_abandoned(context.instance)
    home = memory.home
    dropped, left_alone = _dropped(home)
    seen = _take_in(context, home, dropped, json.loads(context.cursor or "{}"))
    if any(_fresh(file) and _unwritten(home, file) for file in dropped):
        # What was dropped just now is whole in a moment; the next tick is further away.
        time.sleep(SETTLED_S)
        seen = _take_in(context, home, _dropped(home)[0], seen)
    runs = records.under_way(context.instance)
    ingesting = [run for run in runs if run.job_name in INGESTS]
    busy = records.busy_with(ingesting)
    full = _full(home)
    room = 0 if full else min(MOST_REQUESTS, MOST_UNDER_WAY - len(ingesting))
    requests, aside, resting = [], [], 0
    for video in plan.to_ingest(context.instance, home):
        if len(requests) >= room:
            break
        # Of what a killed tick has recorded, the file may still lie in the inbox.
        if video.video in busy or (seen and videos.missing(home, video.video)):
            continue
        if records.set_aside(context.instance, video.tries):
            aside.append(video)
        elif video.tries.rest_s(time.time()):
            resting += 1
        else:
            requests.append(_ingest(home, video))
    new = [request.partition_key for request in requests if request.partition_key]
    why = [full or f"{len(ingesting)} ingests are under way."]
    if resting:
        why.append(f"{resting} failed and are tried again soon.")
    if aside:
        last = records.reason(context.instance, aside[0].tries.run_id)
        why.append(f"{len(aside)} failed {MOST_TRIES} times; {aside[0].video} last: {last}")
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[common.videos.build_add_request(new)] if new else [],
        cursor=json.dumps(seen),
        skip_reason=None if requests else " ".join(why) + left_alone,
    )


def _ingest(home: Home, video: ToIngest) -> dg.RunRequest:
    """One run; what is only watched is watched in the same, once there is a generation."""
    at_once = video.roles == ("watch",) and generations.current(home) is not None
    return dg.RunRequest(
        run_key=f"{video.video}:{video.added}:{video.tries.run_id}",
        job_name=ingest_and_watch.name if at_once else ingest.name,
        partition_key=video.video,
        tags={ADDED_TAG: video.added, PARTITION_NAME_TAG: video.video},
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
            if not name or name.startswith(".") or name.lower().endswith(UNFINISHED):
                continue
            if found["type"] == "file" and not found.get("islink"):
                modified = found["mtime"] if "mtime" in found else found["LastModified"].timestamp()
                files.append(Dropped(modified, name, role, found["size"]))
            else:
                odd.append(videos.printable(name))
    links = f" Links and folders are left alone; copy the files: {', '.join(odd[:10])}."
    return sorted(files), links if odd else ""


def _fresh(file: Dropped) -> bool:
    """Whether a file was written to just now; a clock that is ahead tells nothing."""
    return 0 <= time.time() - file.modified < SETTLED_S


def _unwritten(home: Home, file: Dropped) -> bool:
    """Whether certainly nobody has a file open to write to it. Linux can tell, where files are
    ours: nobody gets a read lease on what somebody writes.
    """
    if home.root.protocol or not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        with Path(str(home.inbox(file.role) / file.name)).open("rb") as reader:
            # Who opens it in this moment waits for us; the signal that says so is ignored.
            fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


def _take_in(
    context: dg.SensorEvaluationContext,
    home: Home,
    dropped: list[Dropped],
    before: dict[str, list[float]],
) -> dict[str, list[float]]:
    """Take in the files that nobody writes to, or that are as they were before, until the time for
    that is over.

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
        settled = known == state or _unwritten(home, file)
        if settled and not _fresh(file) and time.monotonic() < _hashed.deadline:
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


def _one_ends(context: dg.SensorEvaluationContext) -> bool:
    """Whether an ingest or a training ends shortly, also one that is only about to be asked for."""
    instance, awaited = context.instance, _awaited(context.instance)
    if not (awaited or _arrives(instance, context.resources.memory.home)):
        return False
    for _ in looks():
        before, awaited = awaited, _awaited(instance)
        if before - awaited:
            return True
    return False


def _awaited(instance: dg.DagsterInstance) -> set[str]:
    """The ingests and trainings under way."""
    return {
        run.run_id
        for run in records.under_way(instance)
        if run.job_name in INGESTS or records.trained_in([run])
    }


def _arrives(instance: dg.DagsterInstance, home: Home) -> bool:
    """Whether an ingest is about to be asked for: a video is there that was never tried."""
    untried = (video for video in plan.to_ingest(instance, home) if not video.tries.number)
    return not _full(home) and any(untried)


@sensor(
    again=_one_ends,
    jobs=list(TRAINING.values()),
    minimum_interval_seconds=LEARNING_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Trains each model when there is something new for it to learn from. The cursor "
    "tells how it stands with each.",
)
def learning(
    context: dg.SensorEvaluationContext, memory: Memory, schedule: Schedule
) -> dg.SensorResult:
    home, instance = memory.home, context.instance
    runs = records.under_way(instance)
    found = plan.standings(instance, home, schedule.conditions, time.time(), runs)
    requests = []
    for model, standing in found.items():
        if training := standing.training:
            manifests.write(home, training.manifest)
            tags = {
                TRAINING_TAG: training.key,
                common.MANIFEST_TAG: training.manifest.sha,
                **{common.checkpoint_tag(of): sha for of, sha in training.inputs.items()},
                WHY_TAG: training.why,
            }
            run_key = f"{training.key}:{standing.tries.run_id}"
            requests.append(
                dg.RunRequest(job_name=TRAINING[model].name, run_key=run_key, tags=tags)
            )
    why = {model: standing.why for model, standing in found.items()}
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else " ".join(f"{model}: {why[model]}" for model in why),
        cursor=json.dumps(why, indent=1),
    )


@sensor(
    job_name=watch.name,  # Given the job itself, Dagster makes the sensor anew, with a warning.
    minimum_interval_seconds=WATCHING_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Has the current generation look at the `watch` videos it has not looked at yet.",
)
def watching(
    context: dg.SensorEvaluationContext, memory: Memory
) -> dg.SensorResult | dg.SkipReason:
    home, instance = memory.home, context.instance
    generation = generations.current(home)
    if generation is None:
        return dg.SkipReason("Nothing is learned yet.")
    runs = records.under_way(instance)
    found = plan.to_watch(instance, home, generation, time.time(), runs)
    if not found.now or any(run.job_name == watch.name for run in runs):
        return dg.SkipReason(found.why)
    # One that kills the run takes the others with it: after that, each is watched alone.
    fresh = [video for video, tries in found.now.items() if not tries.number]
    batch = fresh[:MOST_REQUESTS] or list(found.now)[:1]
    # A run may end without any predictions, where another generation spoke meanwhile.
    ended = RunsFilter(tags={GENERATION_TAG: generation.sha}, statuses=FINISHED_STATUSES)
    last = [run.run_id for run in instance.get_runs(ended, limit=1)]
    request = dg.RunRequest(
        run_key=":".join([generation.sha, *last]),
        tags={GENERATION_TAG: generation.sha, VIDEOS_TAG: json.dumps(batch)},
        run_config={"ops": {look.name: {"config": {"videos": batch}}}},
    )
    # A home may come from another Dagster instance, which knew its partitions.
    return dg.SensorResult(
        run_requests=[request],
        dynamic_partitions_requests=[common.videos.build_add_request(batch)],
    )


@sensor(
    job=evaluate,
    minimum_interval_seconds=REPORTING_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Evaluates the current generation once there is nothing to learn or watch.",
)
def reporting(
    context: dg.SensorEvaluationContext, memory: Memory, schedule: Schedule
) -> dg.RunRequest | dg.SkipReason:
    home, instance, now_s = memory.home, context.instance, time.time()
    generation = generations.current(home)
    if generation is None:
        return dg.SkipReason("Nothing is learned yet.")
    done = predicted(home, generation.sha)
    metrics = home.metrics(generation.sha)
    if metrics.exists() and read_json(metrics)["predicted"] == done:
        return dg.SkipReason("The report of the current generation is up to date.")
    runs = records.under_way(instance)
    if any(run.job_name == evaluate.name for run in runs):
        return dg.SkipReason("A report is being written.")
    ingests = plan.to_ingest(instance, home)
    arriving = sum(not records.set_aside(instance, video.tries) for video in ingests)
    if arriving:
        return dg.SkipReason(f"It waits until {arriving} videos are ingested.")
    standings = plan.standings(instance, home, schedule.conditions, now_s, runs)
    if coming := [model for model, standing in standings.items() if standing.coming]:
        return dg.SkipReason(f"It waits until {' and '.join(coming)} have learned.")
    watched = plan.to_watch(instance, home, generation, now_s, runs)
    if not watched.over:
        return dg.SkipReason(
            f"It waits for predictions of {len(watched.now) + watched.later} videos."
        )
    contents = {video: store.content(home, video) for video in done}
    shown = [generation.sha, contents, sorted(all_forgotten(home))]
    tags = {PREDICTED_TAG: sha256(canonical_json(shown))}
    tries = records.tries(instance, tags, records.IN_VAIN)
    if records.set_aside(instance, tries):
        why = records.reason(instance, tries.run_id)
        return dg.SkipReason(f"The report failed {MOST_TRIES} times, last: {why}")
    if rest_s := tries.rest_s(now_s):
        return dg.SkipReason(f"The report failed and is tried again in {rest_s:.0f} s.")
    return dg.RunRequest(run_key=f"{tags[PREDICTED_TAG]}:{tries.run_id}", tags=tags)


SENSORS = [inbox, learning, watching, reporting]
