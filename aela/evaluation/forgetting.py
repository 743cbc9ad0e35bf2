"""What became of old memories: how well each generation agrees with what the first one learned."""

from dataclasses import dataclass

from aela.evaluation.pictures import evenly
from aela.learning.checkpoints import UnknownCheckpoint
from aela.memory import videos
from aela.memory.manifest import ChangedMemory, UnknownManifest
from aela.mimicry import generation as generations
from aela.mimicry.agreement import agreement, compare
from aela.mimicry.generation import Generation
from aela.storage import Home

MOST_GENERATIONS = 10
GONE = (ChangedMemory, FileNotFoundError, UnknownCheckpoint, UnknownManifest)


@dataclass(frozen=True)
class Forgetting:
    """How well memory is agreed with (`aela.mimicry.agreement`): 0.5 by chance, 1 at best.

    Attributes:
        generations: by the hash of each generation that spoke, oldest first, its agreement with the
            moments that the first one learned from; empty where there is one alone.
        videos: by video, in the order they came, the agreement of the generation that speaks.
    """

    generations: dict[str, float]
    videos: dict[str, float]


def forgetting(home: Home, generation: Generation) -> Forgetting:
    """Of a generation and those that spoke before it, as far as their memory is still there."""
    now = agreement(home, generation)
    shares = now[0].videos if now else {}
    came = {video.video: number for number, video in enumerate(videos.known(home))}
    in_order = sorted(shares, key=lambda video: came.get(video, len(came)))
    return Forgetting(_over_generations(home, generation), {v: shares[v] for v in in_order})


def _over_generations(home: Home, last: Generation) -> dict[str, float]:
    spoke = [
        one
        for one in generations.known(home)
        if one.created <= last.created
        and any(event.state == "published" for event in generations.history(home, one.sha))
    ]
    found: dict[str, float] = {}
    for one in (spoke[number] for number in evenly(len(spoke), MOST_GENERATIONS)):
        try:
            compared = compare(home, spoke[0], one)
        except GONE:
            continue
        if compared:
            found[one.sha] = compared.new.share
    return found if len(found) > 1 else {}
