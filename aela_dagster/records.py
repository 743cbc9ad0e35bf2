"""What Dagster's records tell: what is under way, what has failed, how often and why."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG

from aela.learning.checkpoints import MODELS
from aela.storage import NO_ROOM
from resources.compute import ALL, TRAINS_TAG

MOST_TRIES = 3  # of what fails again and again; then it is set aside
BACKOFF_S = 30.0  # until what failed is tried again; twice as long after each failure, ...
MOST_BACKOFF_S = 600.0  # ... but no longer
MOST_KNOWN = 4096  # runs of which it is known whether they found no room
MOST_UNDER_WAY = 500  # runs that are looked at of those under way
VIDEOS_TAG = "aela/videos"  # a JSON list of those that a run of `watch` looks at
ENDED = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
IN_VAIN = [*ENDED, DagsterRunStatus.SUCCESS]
"""How runs end for work that stays to be done: nothing came of one that succeeded either."""


@dataclass(frozen=True)
class Tries:
    """How often the same work has failed; when (seconds since 1970) and in which run it last did.

    Runs that were killed or stopped with everything around them are not among them
    (`aela_dagster.abandoned`). A run's key names the last one, not how many there were: runs can be
    deleted, and no key may come twice.
    """

    number: int = 0
    last_s: float = 0.0
    run_id: str = ""

    def rest_s(self, now_s: float) -> float:
        """Seconds until the next try; 0 when it may be made."""
        if not self.number:
            return 0.0
        backoff_s = min(BACKOFF_S * 2 ** min(self.number - 1, 10), MOST_BACKOFF_S)
        return max(0.0, self.last_s + backoff_s - now_s)

    def and_in(self, record: RunRecord) -> "Tries":
        ended_s = record.end_time or record.update_timestamp.timestamp()
        if ended_s <= self.last_s:  # Records come newest first.
            return Tries(self.number + 1, self.last_s, self.run_id)
        return Tries(self.number + 1, ended_s, record.dagster_run.run_id)


def tries(
    instance: dg.DagsterInstance,
    tags: Mapping[str, str | Sequence[str]],
    ended: Sequence[DagsterRunStatus] = ENDED,
) -> Tries:
    """Of the work that these tags name."""
    found = Tries()
    for record in instance.get_run_records(RunsFilter(tags=tags, statuses=ended)):
        found = found.and_in(record)
    return found


def tries_by_video(
    instance: dg.DagsterInstance,
    tags: Mapping[str, str | Sequence[str]],
    ended: Sequence[DagsterRunStatus] = ENDED,
) -> dict[tuple[str, str], Tries]:
    """Of runs for one video or many, by video and value of the other tag: one query."""
    [other] = tags.keys() - {PARTITION_NAME_TAG}
    found: dict[tuple[str, str], Tries] = {}
    for record in instance.get_run_records(RunsFilter(tags=tags, statuses=ended)):
        run = record.dagster_run
        for video in videos_of(run):
            of = video, run.tags[other]
            found[of] = found.get(of, Tries()).and_in(record)
    return found


_found_no_room: dict[str, bool] = {}  # by run


def set_aside(instance: dg.DagsterInstance, tries: Tries) -> bool:
    """Whether it was tried too often to be tried again; not for want of room: that comes back."""
    if tries.number < MOST_TRIES:
        return False
    if tries.run_id not in _found_no_room:
        if len(_found_no_room) >= MOST_KNOWN:
            _found_no_room.clear()
        _found_no_room[tries.run_id] = NO_ROOM in reason(instance, tries.run_id)
    return not _found_no_room[tries.run_id]


def under_way(instance: dg.DagsterInstance) -> list[DagsterRun]:
    """The runs that have not ended, queued ones among them."""
    not_ended = RunsFilter(statuses=NOT_FINISHED_STATUSES)
    return list(instance.get_runs(not_ended, limit=MOST_UNDER_WAY))


def videos_of(run: DagsterRun) -> list[str]:
    """The videos that a run is for."""
    if PARTITION_NAME_TAG in run.tags:
        return [run.tags[PARTITION_NAME_TAG]]
    return json.loads(run.tags.get(VIDEOS_TAG, "[]"))


def busy_with(runs: Iterable[DagsterRun]) -> set[str]:
    """The videos that some runs are for."""
    return {video for run in runs for video in videos_of(run)}


def trained_in(runs: Iterable[DagsterRun]) -> set[str]:
    """The models that some runs train, also those that were materialized by hand."""
    found = set()
    for run in runs:
        trains = run.tags.get(TRAINS_TAG)
        found |= set(MODELS) if trains == ALL else {trains} if trains else set()
        found |= {key.to_user_string() for key in run.asset_selection or ()}.intersection(MODELS)
    return found


def reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """Why a run failed, in one line: in the words of the step that did, where it had any."""
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE):
        data = entry.dagster_event.step_failure_data if entry.dagster_event else None
        if data and data.user_failure_data and data.user_failure_data.description:
            return data.user_failure_data.description
        if data and data.error:
            return (data.error.cause or data.error).message.strip()
    return f"See run {run_id[:8]}."
