"""Runs that were ended from outside, and not because of what they did.

Dagster ends a run whose process dies while the code server lives. When both are killed, as when the
power fails, the run would be in progress for ever, and what it was to do would never be asked for
again. Where everything is stopped in order, by Ctrl+C or by the service manager, its process says
itself that it was interrupted, which Dagster takes for a failure.
"""

import os
import platform
import time
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter
from dagster._core.events import RunFailureReason
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import MAX_RETRIES_TAG, RUN_FAILURE_REASON_TAG, RUN_KEY_TAG

HOST_TAG = "aela/host"
_EXCUSED = RunFailureReason.UNKNOWN.value
SLACK_S = 2.0  # between the clocks of Dagster's log and of the process table


def end_abandoned(instance: dg.DagsterInstance) -> list[str]:
    """End all runs that were started on this machine and whose process is gone, as failed.

    Neither they nor those that were interrupted count as failures of what they were to do: their
    tags no longer name that, so that the sensors ask for it again.

    Returns:
        the run ids of both.
    """
    interrupted = RunsFilter(
        statuses=[DagsterRunStatus.FAILURE],
        tags={RUN_FAILURE_REASON_TAG: RunFailureReason.UNEXPECTED_TERMINATION.value},
    )
    ended = []
    for run in instance.get_runs(interrupted):
        _excuse(instance, run, "interrupted", {RUN_FAILURE_REASON_TAG: _EXCUSED})
        ended.append(run.run_id)
    # Other launchers start runs on other machines, and look after them by themselves.
    if not isinstance(instance.run_launcher, DefaultRunLauncher):
        return ended
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        if run.tags.get(HOST_TAG, platform.node()) != platform.node():
            continue
        for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_START):
            pid = entry.dagster_event.pid if entry.dagster_event else None
            if pid is not None and not _runs_since(pid, entry.timestamp):
                _excuse(instance, run, "abandoned", {MAX_RETRIES_TAG: "0"})
                instance.report_run_failed(run, f"Its process ({pid}) was killed; it starts anew.")
                ended.append(run.run_id)
    return ended


def _excuse(
    instance: dg.DagsterInstance, run: dg.DagsterRun, why: str, more: dict[str, str]
) -> None:
    """Have a run's tags no longer name what it was to do."""
    named = [key for key in run.tags if key.startswith("aela/") or key == RUN_KEY_TAG]
    tags = {key: f"{run.tags[key]} ({why})" for key in named if key != HOST_TAG}
    instance.add_run_tags(run.run_id, {**tags, **more})


def _runs_since(pid: int, timestamp: float) -> bool:
    """Whether the process that had this number at a time, in seconds since 1970, still runs."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return not Path("/proc").exists() and _exists(pid)
    # The 22nd value of proc(5): when it started, in ticks since the machine did.
    started_s = int(numbers[18]) / os.sysconf("SC_CLK_TCK")
    since_s = time.clock_gettime(time.CLOCK_BOOTTIME) - (time.time() - timestamp)
    return state != "Z" and started_s <= since_s + SLACK_S


def _exists(pid: int) -> bool:
    """The same where there is no process table to read; a number given anew goes unnoticed."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
