"""Checkpoints and generations as a Dagster resource: what was learned and what speaks now."""

import dagster as dg

from aela.learning import checkpoints
from aela.learning.checkpoints import Checkpoint, UnknownCheckpoint
from aela.memory import manifest as manifests
from aela.memory.manifest import Manifest
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation, UnknownGeneration
from aela.storage import Home
from resources.memory import Memory


class Checkpoints(dg.ConfigurableResource):
    """The current checkpoint of each model, and the generation that speaks."""

    memory: Memory

    @property
    def home(self) -> Home:
        return self.memory.home

    def required(self, model: str) -> Checkpoint:
        """The current checkpoint of `model`.

        Raises:
            dagster.Failure: it was not trained yet.
        """
        try:
            return checkpoints.required(self.home, model)
        except UnknownCheckpoint as error:
            raise dg.Failure(str(error), allow_retries=False) from None

    def manifest_of(self, checkpoint: Checkpoint) -> Manifest:
        """What `checkpoint` was trained on."""
        return manifests.read(self.home, checkpoint.card.manifest)

    def generation(self) -> Generation:
        """The generation that speaks.

        Raises:
            dagster.Failure: nothing was learned yet.
        """
        try:
            return generations.required(self.home)
        except UnknownGeneration as error:
            raise dg.Failure(str(error), allow_retries=False) from None
