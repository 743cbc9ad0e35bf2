"""A video in, sharp frames and spoken-word clips out, in one decoding pass."""

from aela.capture.records import (
    SAMPLE_RATE_HZ,
    Clip,
    Frame,
    Rejection,
    UnreadableVideo,
    VideoInfo,
)
from aela.capture.settings import CaptureSettings
from aela.capture.source import probe
from aela.capture.stream import capture

__all__ = [
    "SAMPLE_RATE_HZ",
    "CaptureSettings",
    "Clip",
    "Frame",
    "Rejection",
    "UnreadableVideo",
    "VideoInfo",
    "capture",
    "probe",
]
