"""The memory as a Dagster resource: where everything lies, and how finely videos are looked at."""

import dagster as dg
from pydantic import Field

from aela.capture import CaptureSettings
from aela.storage import Home


class Memory(dg.ConfigurableResource):
    """The data folder and the settings of capture."""

    location: str = Field(
        default="", description="Data folder or s3:// address; empty for $AELA_HOME or ./data."
    )
    frames_per_second: float = Field(
        default=1.0, ge=0.1, le=30, description="Frames kept per second: the sharpest of each."
    )

    @property
    def home(self) -> Home:
        return Home.at(self.location or None)

    @property
    def capture_settings(self) -> CaptureSettings:
        return CaptureSettings(frames_per_second=self.frames_per_second)
