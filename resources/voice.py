"""How the system's voice is laid over videos, as a Dagster resource."""

import dagster as dg
from pydantic import Field

ORIGINAL_VOLUME = 0.3


class Voice(dg.ConfigurableResource):
    """Of spoken videos."""

    original_volume: float = Field(
        default=ORIGINAL_VOLUME,
        ge=0,
        le=1,
        description="Share of the recorded sound that stays: 0 for none of it, 1 for all.",
    )
