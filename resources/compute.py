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
from aela.presets import Preset, preset
from aela.storage import Home

FAILED = "failed"  # key of the message by which a trainer says in one sentence why it stopped

TRAINS_TAG = "aela/trains"  # of runs that train: one model, or ALL in a row
ALL = "all"
LANES = {"image_encoder": 0, "mel_autoencoder": 1, "associator": 2, "word_autoencoder": 3}
"""Which CUDA device each model trains on, of as many as there are: sight apart from hearing."""


class UnknownDevice(ValueError):
    """There is no such device here; the message says what to do."""


def torch_device(name: str, model: str | None = None) -> str:
    """The device that `cpu`, `cuda` or `auto` stands for, decided now.

    Args:
        model: on machines with several CUDA devices, that of this model.

    Raises:
        UnknownDevice: there is no such device.
    """
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UnknownDevice(f"There is no device {name!r}; use cpu, cuda or auto.")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise UnknownDevice("No CUDA device was found; set device to cpu or auto.")
    devices = torch.cuda.device_count()
    return f"cuda:{LANES[model] % devices}" if model in LANES and devices > 1 else "cuda"


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

    preset: str = Field(default="aela1", description="Preset of settings: aela0, aela1 or quick.")
    effort: float = Field(
        default=1.0, gt=0, description="Share of the preset's training steps and minutes to spend."
    )
    device: str = Field(default="auto", description="cpu, cuda, or auto: cuda where there is one.")
    seed: int = Field(default=0, description="Seed of all randomness in training.")
    resume: bool = Field(
        default=True, description="Start from the current checkpoint where the settings agree."
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

        Args:
            inputs: checkpoints to train on top of, by model.

        Its losses appear in the event log as they come.

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
                f"The {model} trainer was ended from outside or ran out of memory; its last lines "
                "are in the run's stderr. Free memory or train on a smaller preset, then try again."
            ) from error
        for message in invocation.get_custom_messages():
            if FAILED in message:
                raise dg.Failure(message[FAILED], allow_retries=False)
        return checkpoints.required(home, model)
