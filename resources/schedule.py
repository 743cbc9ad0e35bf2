"""The conditions of learning as a Dagster resource."""

import dagster as dg
from pydantic import Field

from aela.learning.schedule import Conditions


class Schedule(dg.ConfigurableResource):
    """When new memory is learned from; see `aela.learning.schedule.Conditions`."""

    least_frames: int = Field(
        default=Conditions.least_frames,
        ge=1,
        le=1_000_000,
        description="Frames that memory must hold.",
    )
    least_clips: int = Field(
        default=Conditions.least_clips,
        ge=1,
        le=1_000_000,
        description="Words that memory must hold.",
    )
    new_frames: int = Field(
        default=Conditions.new_frames,
        ge=1,
        le=1_000_000,
        description="Frames that must be new to train on them.",
    )
    new_clips: int = Field(
        default=Conditions.new_clips,
        ge=1,
        le=1_000_000,
        description="Words that must be new to train on them.",
    )
    patience_s: float = Field(
        default=Conditions.patience_s,
        ge=0,
        le=1e7,
        description="Seconds after which fewer new frames or words are learned from, too.",
    )
    gather_s: float = Field(
        default=Conditions.gather_s,
        ge=0,
        le=1e7,
        description="Seconds that a new video waits at most for others being taken in.",
    )

    @property
    def conditions(self) -> Conditions:
        """
        Raises:
            ValueError: a value lies outside its range.
        """
        return Conditions(
            least_frames=self.least_frames,
            least_clips=self.least_clips,
            new_frames=self.new_frames,
            new_clips=self.new_clips,
            patience_s=self.patience_s,
            gather_s=self.gather_s,
        )
