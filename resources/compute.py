"""Compute as a Dagster resource: the preset, the device, and trainers in processes of their own."""

import sys
import warnings

import dagster as dg
from dagster import AssetExecutionContext, PipesSubprocessClient
from dagster._core.errors import DagsterPipesExecutionError
from pydantic import Field

from aela.learning import checkpoints
from aela.learning.checkpoints import Checkpoint
from aela.presets import Preset, preset
from aela.storage import Home

FAILED = "failed"  # key of the message by which a trainer says in one sentence why it stopped


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
        import torch

        if self.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self.device not in ("cpu", "cuda"):
            raise dg.Failure(
                f"There is no device {self.device!r}; use cpu, cuda or auto.", allow_retries=False
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise dg.Failure(
                "No CUDA device was found; set device to cpu or auto.", allow_retries=False
            )
        return self.device

    def train(
        self, context: AssetExecutionContext, home: Home, model: str, manifest: str
    ) -> Checkpoint:
        """Train `model` on a manifest in a process of its own and make the result current.

        Its losses appear in the event log as they come. One that was killed goes on at its
        bookmark when the same is trained again.

        Raises:
            dagster.Failure: the training stopped; the description says why.
        """
        _ = self.settings  # An unknown preset is said here, not in the other process.
        device = self.torch_device()
        client = PipesSubprocessClient()
        extras = {
            "home": str(home.root),
            "model": model,
            "manifest": manifest,
            "preset": self.preset,
            "effort": self.effort,
            "device": device,
            "seed": self.seed,
            "resume": self.resume,
            "bars": self.bars,
        }
        command = [sys.executable, "-m", "resources.trainer"]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.PreviewWarning)  # of Pipes' own inner workings
                invocation = client.run(context=context, command=command, extras=extras)
        except DagsterPipesExecutionError as error:
            raise dg.Failure(
                f"The {model} trainer was ended from outside or ran out of memory; its last lines "
                "are in the run's stderr. Free memory or train on a smaller preset, then try "
                "again: with equal settings it goes on where it was."
            ) from error
        for message in invocation.get_custom_messages():
            if FAILED in message:
                raise dg.Failure(message[FAILED], allow_retries=False)
        return checkpoints.required(home, model)
