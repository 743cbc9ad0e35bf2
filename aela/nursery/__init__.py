"""The nursery: makes sample videos in which a voice names what a hand-held camera looks at."""

from aela.nursery.nursery import make_nursery
from aela.nursery.settings import NurserySettings
from aela.nursery.things import THINGS, UNKNOWN_THINGS, Thing
from aela.nursery.voice import VoiceError

__all__ = ["THINGS", "UNKNOWN_THINGS", "NurserySettings", "Thing", "VoiceError", "make_nursery"]
