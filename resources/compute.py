"""Compute as a Dagster resource: the preset, the device, and trainers in processes of their own."""

import os
import sys
import warnings
from collections.abc import Mapping

import dagster as dg
from dagster import AssetExecutionContext, PipesSubprocessClient
from dagster._core.errors import DagsterPipesExecutionError
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from pydantic import Field

from aela.learning import checkpoints
from aela.learning.checkpoints import MODELS, Checkpoint
from aela.presets import DEFAULT_PRESET, Preset, preset
from aela.storage import Home
from resources.devices import UnknownDevice, torch_device
from resources.trainer import FAILED, TRAINED

TRAINS_TAG = "aela/trains"  # of runs that train: one model, or ALL in a row
ALL = "all"


def fair_share(instance: dg.DagsterInstance) -> int:
    """Threads for a training that starts now: the cores, shared with the others under way."""
    trains = dg.RunsFilter(tags={TRAINS_TAG: [*MODELS, ALL]}, statuses=NOT_FINISHED_STATUSES)
    return max(1, cores() // max(1, instance.get_runs_count(trains)))


def cores() -> int:
    """The processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Compute(dg.ConfigurableResource):
    """How models are trained and run."""

    preset: str = Field(
        default=DEFAULT_PRESET, description="Preset of settings: aela0, aela1 or quick."
    )
    effort: float = Field(
        default=1.0, gt=0, description="Share of the preset's training steps and minutes to spend."
    )
    device: str = Field(default="auto", description="cpu, cuda, or auto: cuda where there is one.")
    seed: int = Field(default=0, ge=0, description="Seed of all randomness in training.")
    resume: bool = Field(
        default=True, description="Start from the checkpoint that speaks, where the settings agree."
    )
    threads: int = Field(
        default=0, ge=0, description="Threads of a training; 0 for its share of the cores."
    )
    bars: bool = Field(
        default=False, description="Draw the trainers' progress on the terminal as well."
    )

    @property
    def settings(self) -> Preset:
        """
        Raises:
            dagster.Failure: there is no such preset.
        """
        try:
            return preset(self.preset, self.effort)
        except ValueError as error:
            raise dg.Failure(str(error), allow_retries=False) from None

    def torch_device(self) -> str:
        """`cpu` or `cuda`, decided now.

        Raises:
            dagster.Failure: cuda is asked for and there is none.
        """
        try:
            return torch_device(self.device)
        except UnknownDevice as error:
            raise dg.Failure(str(error), allow_retries=False) from None

    def train(
        self,
        context: AssetExecutionContext,
        home: Home,
        model: str,
        manifest: str,
        inputs: Mapping[str, str],
    ) -> Checkpoint:
        """Train `model` on a manifest in a process of its own and make the result current.

        Its losses appear in the event log as they come. One that was killed goes on at its
        bookmark when the same is trained again.

        Args:
            inputs: checkpoints to train on top of, by model.

        Raises:
            dagster.Failure: the training stopped; the description says why.
        """
        _ = self.settings  # An unknown preset is said here, not in the other process.
        client = PipesSubprocessClient()
        extras = {
            "home": str(home.root),
            "model": model,
            "manifest": manifest,
            "preset": self.preset,
            "effort": self.effort,
            "inputs": dict(inputs),
            "device": self.device,
            "threads": self.threads or fair_share(context.instance),
            "seed": self.seed,
            "resume": self.resume,
            "bars": self.bars,
            "run_pid": os.getpid(),
        }
        command = [sys.executable, "-m", "resources.trainer"]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.PreviewWarning)  # of Pipes' own inner workings
                invocation = client.run(context=context, command=command, extras=extras)
        except DagsterPipesExecutionError as error:
            raise dg.Failure(
                f"The {model} trainer was ended from outside, perhaps as memory ran out; its last "
                "lines are in the run's stderr. Free memory or train on a smaller preset, then try "
                "again: with equal settings it goes on where it was."
            ) from error
        for message in invocation.get_custom_messages():
            if FAILED in message:
                raise dg.Failure(message[FAILED], allow_retries=False)
            if TRAINED in message:
                return checkpoints.read(home, model, message[TRAINED])
        raise dg.Failure(f"The {model} trainer ended without a checkpoint; see the run's stderr.")
