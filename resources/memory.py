"""The memory as a Dagster resource: where everything lies, and how finely videos are looked at."""

import dagster as dg
from pydantic import Field

from aela.capture import CaptureSettings
from aela.capture.settings import MOST_PIXELS
from aela.storage import Home


class Memory(dg.ConfigurableResource):
    """The data folder and the settings of capture."""

    location: str = Field(
        default="", description="Data folder or s3:// address; empty for $AELA_HOME or ./data."
    )
    frames_per_second: float = Field(
        default=1.0, ge=0.1, le=30, description="Frames kept per second: the sharpest of each."
    )

    max_pixels: int = Field(
        default=CaptureSettings.max_pixels,
        ge=10_000,
        le=MOST_PIXELS,
        description="Videos whose pictures have more pixels are set aside.",
    )
    max_seconds: float = Field(
        default=CaptureSettings.max_seconds,
        ge=1,
        le=7 * 24 * 3600,
        description="What comes later in a video is left out.",
    )

    @property
    def home(self) -> Home:
        return Home.at(self.location or None)

    @property
    def capture_settings(self) -> CaptureSettings:
        return CaptureSettings(
            frames_per_second=self.frames_per_second,
            max_pixels=self.max_pixels,
            max_seconds=self.max_seconds,
        )
