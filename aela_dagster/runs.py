"""Runs jobs from the command line in this process, recorded by Dagster like any other run."""

import json
import os
import platform
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.tags import PARTITION_NAME_TAG
from upath import UPath

from aela import presets
from aela.memory import videos
from aela.memory.videos import Role, Video
from aela.storage import Home, write_bytes
from aela_dagster import records
from aela_dagster.abandoned import HOST_TAG, end_abandoned
from aela_dagster.records import VIDEOS_TAG
from assets import common
from resources.devices import torch_device

ASSET_MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION
WAIT_S = 30.0  # for others that use Dagster's records
MOST_SAID = 500  # letters of what Dagster says is wrong
MOST_RUNS = 1000  # in which something was made of one video
DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
# Models train side by side, never two of one kind: each has a pool of its own.
concurrency:
  runs:
    max_concurrent_runs: 6
    tag_concurrency_limits:
      - key: aela/kind
        value: ingest
        limit: 2
  pools:
    default_limit: 1
    granularity: run
# What is asked for begins within two seconds.
run_queue:
  dequeue_interval_seconds: 2
sensors:
  use_threads: true
  num_workers: 4
# What was launched but never began is ended after three minutes.
run_monitoring:
  enabled: true
# The sensors ask again for what failed.
run_retries:
  enabled: false
"""


def prepare_dagster(home: Home) -> Path:
    """Point this process and its children at the home and its Dagster folder; make the latter.

    A folder that `$DAGSTER_HOME` names already is left as it is, unless it is the home's own.
    """
    os.environ["AELA_HOME"] = str(home.root)
    beside = Path("data") if home.root.protocol else Path(str(home.root))
    folder = (beside / "dagster").absolute()
    given = Path(os.environ.get("DAGSTER_HOME") or folder)
    if given != folder:
        return given
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(folder)
    if not (folder / "dagster.yaml").exists():
        write_bytes(UPath(folder / "dagster.yaml"), DAGSTER_YAML.encode())
    return folder


def check_compute(preset: str, effort: float, device: str, **_: object) -> None:
    """
    Raises:
        ValueError: there is no such preset, effort or device.
    """
    presets.preset(preset, effort)
    if device != "auto":
        torch_device(device)


class RunFailed(RuntimeError):
    """A run did not succeed; the message says why, in the words of the step that failed."""


class NoInstance(RuntimeError):
    """Dagster's records or settings cannot be used; the message says where they lie, and why."""


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
        """A runner that records its runs in `$DAGSTER_HOME`, else in the home's own folder.

        Raises:
            ValueError: there is no such preset, effort or device.
            NoInstance: that folder cannot be used.
        """
        if compute:
            check_compute(**{"preset": presets.DEFAULT_PRESET, "effort": 1.0, **compute})
        folder = prepare_dagster(home)
        try:
            instance = dg.DagsterInstance.get()
            end_abandoned(instance)
        except Exception as error:  # Dagster's own, its database's, or what a setting asks for.
            why = " ".join(str(error).split())[:MOST_SAID]
            raise NoInstance(
                f"Dagster's folder {folder} cannot be used: {why} Look at its dagster.yaml, and "
                "whether you may write to it."
            ) from error
        return cls(home, instance, compute)

    def run(self, job: str, video: str | None = None) -> dg.ExecuteInProcessResult:
        """Run `job`, for one video or for all of memory.

        Raises:
            RunFailed: a step failed.
        """
        return self._run(job, video, {}, {})

    def watch(self, watched: list[str], original_volume: float | None = None) -> None:
        """Have the current generation look at some videos and speak over them, in one run.

        Args:
            original_volume: share of their own sound that stays; as set for all if None.

        Raises:
            RunFailed: some could not be watched; all others were.
        """
        ops = {"look": {"config": {"videos": watched}}}
        voice = {} if original_volume is None else {"original_volume": original_volume}
        tags = {VIDEOS_TAG: json.dumps(watched)}
        self._run("watch", None, {"ops": ops}, tags, voice={"config": voice})

    def _run(
        self,
        job: str,
        video: str | None,
        config: dict[str, Any],
        tags: dict[str, str],
        **resources: dict[str, Any],
    ) -> dg.ExecuteInProcessResult:
        from aela_dagster.definitions import defs

        result = defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=video,
            tags={HOST_TAG: platform.node(), **tags},
            raise_on_error=False,
            run_config={
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                "resources": {"compute": {"config": self.compute}, **resources},
                **config,
            },
        )
        if not result.success:
            raise RunFailed(_why(result))
        return result

    def take_in(self, source: Path, role: Role) -> Video:
        """Take a copy of a file in and make it a partition.

        Raises:
            FileNotFoundError, ValueError: as `aela.memory.videos.take_in`.
        """
        video = videos.take_in(self.home, UPath(source), role, move=False)
        self.instance.add_dynamic_partitions(common.videos.name or "", [video.video])
        return video

    def ready_to_forget(self, video: str) -> None:
        """
        Raises:
            ValueError: a run is busy with the video.
        """
        if video in records.busy_with(records.under_way(self.instance)):
            raise ValueError(f"A run is busy with {video}; wait until it ends, or cancel it.")

    def forget(self, video: str) -> None:
        """Delete the partition of a video and its runs, whose logs show pictures of it.

        Raises:
            OSError: all of it is deleted, but the pictures could not be taken out of Dagster's
                files.
        """
        for run in self.instance.get_runs(dg.RunsFilter(tags={PARTITION_NAME_TAG: video})):
            self._delete(run.run_id)
        for run_id in self._told_of(video):
            self._delete_but_for_others(run_id, video)
        for asset in self.instance.all_asset_keys():
            latest = self.instance.get_latest_materialization_event(asset)
            shown = latest.asset_materialization if latest else None
            if shown and shown.partition == video:
                self._show_another(asset, video)
        self.instance.delete_dynamic_partition(common.videos.name or "", video)
        self._overwrite_deleted()

    def _delete(self, run_id: str) -> None:
        self.instance.delete_run(run_id)
        storage = self.instance.event_log_storage
        if isinstance(storage, SqliteEventLogStorage):  # It empties the run's file and leaves it.
            for suffix in ("", "-wal", "-shm"):
                Path(storage.path_for_shard(run_id) + suffix).unlink(missing_ok=True)

    def _overwrite_deleted(self) -> None:
        """SQLite only marks deleted rows as free: until others need the room they can be read."""
        storage = self.instance.event_log_storage
        if not isinstance(storage, SqliteEventLogStorage):
            return
        index = storage.path_for_shard(INDEX_SHARD_NAME)
        try:
            with closing(sqlite3.connect(index, timeout=WAIT_S)) as connection:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            raise OSError(
                f"Deleted pictures may still lie in {index} ({error}); forget the video again."
            ) from error

    def _told_of(self, video: str) -> set[str]:
        """The runs for several videos in which something was made of this one."""
        return {
            record.event_log_entry.run_id
            for asset in self.instance.all_asset_keys()
            for record in self.instance.fetch_materializations(
                dg.AssetRecordsFilter(asset, asset_partitions=[video]), limit=MOST_RUNS
            ).records
            if self.instance.get_run_by_id(record.event_log_entry.run_id)
        }

    def _delete_but_for_others(self, run_id: str, video: str) -> None:
        """Delete a run; what it made of other videos is told again, without pictures."""
        made = [
            entry.dagster_event.step_materialization_data.materialization
            for entry in self.instance.all_logs(run_id, of_type=ASSET_MATERIALIZATION)
            if entry.dagster_event
        ]
        self._delete(run_id)
        for event in made:
            wanted = dg.AssetRecordsFilter(
                event.asset_key, asset_partitions=[event.partition or ""]
            )
            newer = self.instance.fetch_materializations(wanted, limit=1).records
            if event.partition != video and not newer:
                self.instance.report_runless_asset_event(plain(event))

    def _show_another(self, asset: dg.AssetKey, video: str) -> None:
        """Make the event of another video an asset's latest, a copy of which lies beside the runs.

        It is repeated without its pictures, as what belongs to no run cannot be deleted later.
        """
        others = self.instance.get_materialized_partitions(asset) - {video}
        wanted = dg.AssetRecordsFilter(asset, asset_partitions=sorted(others))
        found = self.instance.fetch_materializations(wanted, limit=1).records if others else []
        if found and (event := found[0].asset_materialization):
            self.instance.report_runless_asset_event(plain(event))
        else:
            self.instance.wipe_assets([asset])


def plain(event: dg.AssetMaterialization) -> dg.AssetMaterialization:
    """An event without pictures: those of an event that belongs to no run cannot be deleted."""
    return event.with_metadata(
        {
            name: value
            for name, value in event.metadata.items()
            if not isinstance(value, dg.MarkdownMetadataValue)
        }
    )


def _why(result: dg.ExecuteInProcessResult) -> str:
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.blocking:
            measured = ", ".join(
                f"{name} {value.value:.3g}"
                for name, value in check.metadata.items()
                if isinstance(value, dg.FloatMetadataValue)
            )
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
