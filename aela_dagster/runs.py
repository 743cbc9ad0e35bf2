"""Runs jobs from the command line in this process, recorded by Dagster like any other run."""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG
from upath import UPath

from aela.memory import videos
from aela.memory.videos import Role, Video
from aela.storage import Home, write_bytes
from aela_dagster.abandoned import HOST_TAG, end_abandoned
from assets import common

DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
# Runs wait for each other beyond two at a time; trainings of one kind never overlap.
concurrency:
  runs:
    max_concurrent_runs: 2
  pools:
    default_limit: 1
# What was launched but never began is ended after three minutes.
run_monitoring:
  enabled: true
run_retries:
  enabled: true
  max_retries: 1
  retry_on_asset_or_op_failure: false
"""


def prepare_dagster(home: Home) -> Path:
    """Point this process and its children at the home and its Dagster folder; make the latter."""
    os.environ["AELA_HOME"] = str(home.root)
    if "DAGSTER_HOME" in os.environ:  # The user's own, with settings of its own.
        return Path(os.environ["DAGSTER_HOME"])
    beside = Path("data") if home.root.protocol else Path(str(home.root))
    folder = (beside / "dagster").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(folder)
    if not (folder / "dagster.yaml").exists():
        write_bytes(UPath(folder / "dagster.yaml"), DAGSTER_YAML.encode())
    return folder


class RunFailed(RuntimeError):
    """A run did not succeed; the message says why, in the words of the step that failed."""


@dataclass(frozen=True)
class Runner:
    """Runs jobs on one home.

    Attributes:
        compute: settings of the resource `compute` that differ from the code location's.
    """

    home: Home
    instance: dg.DagsterInstance
    compute: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def at(cls, home: Home, **compute: Any) -> "Runner":
        """A runner that records its runs in `$DAGSTER_HOME`, else in the home's own folder."""
        prepare_dagster(home)
        instance = dg.DagsterInstance.get()
        end_abandoned(instance)
        return cls(home, instance, compute)

    def run(self, job: str, video: str | None = None) -> dg.ExecuteInProcessResult:
        """Run `job`, for one video or for all of memory.

        Raises:
            RunFailed: a step failed.
        """
        from aela_dagster.definitions import defs

        result = defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=video,
            tags={HOST_TAG: platform.node()},
            raise_on_error=False,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "resources": {"compute": {"config": self.compute}},
            },
        )
        if not result.success:
            raise RunFailed(_why(result))
        return result

    def take_in(self, source: Path, role: Role, *, move: bool = False) -> Video:
        """Take a file in and make it a partition.

        Raises:
            FileNotFoundError, ValueError: as `aela.memory.videos.take_in`.
        """
        video = videos.take_in(self.home, UPath(source), role, move=move)
        self.instance.add_dynamic_partitions(common.videos.name or "", [video.video])
        return video

    def ready_to_forget(self, video: str) -> None:
        """
        Raises:
            ValueError: a run is busy with the video.
        """
        busy = dg.RunsFilter(tags={PARTITION_NAME_TAG: video}, statuses=NOT_FINISHED_STATUSES)
        if self.instance.get_runs(busy, limit=1):
            raise ValueError(f"A run is busy with {video}; wait until it ends, or cancel it.")

    def forget(self, video: str) -> None:
        """Delete the partition of a video and its runs, whose logs show pictures of it."""
        for run in self.instance.get_runs(dg.RunsFilter(tags={PARTITION_NAME_TAG: video})):
            self.instance.delete_run(run.run_id)
        for asset in self.instance.all_asset_keys():
            latest = self.instance.get_latest_materialization_event(asset)
            shown = latest.asset_materialization if latest else None
            if shown and shown.partition == video:
                self._show_another(asset, video)
        self.instance.delete_dynamic_partition(common.videos.name or "", video)

    def _show_another(self, asset: dg.AssetKey, video: str) -> None:
        """Make the event of another video an asset's latest, a copy of which lies beside the runs.

        It is repeated without its pictures, as what belongs to no run cannot be deleted later.
        """
        others = self.instance.get_materialized_partitions(asset) - {video}
        wanted = dg.AssetRecordsFilter(asset, asset_partitions=sorted(others))
        found = self.instance.fetch_materializations(wanted, limit=1).records if others else []
        if found and (event := found[0].asset_materialization):
            plain = {
                name: value
                for name, value in event.metadata.items()
                if not isinstance(value, dg.MarkdownMetadataValue)
            }
            self.instance.report_runless_asset_event(event.with_metadata(plain))
        else:
            self.instance.wipe_assets([asset])


def _why(result: dg.ExecuteInProcessResult) -> str:
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.blocking:
            measured = ", ".join(f"{k} {v.value}" for k, v in check.metadata.items())
            return (
                f"{check.asset_key.to_user_string()} did not pass its check {check.check_name} "
                f"({measured}), so what was learned before stays in use; add videos, or train "
                "longer with a larger --effort."
            )
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error.cause or data.error if data.error else None
            return f"{event.step_key} failed: {error.message.strip() if error else 'see the run'}"
    return "The run failed; its log in the UI says why."
