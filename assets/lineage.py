"""Links between materializations: from what was said back to memory, and from a video forth.

What Dagster keeps as provenance names the latest event of any partition, so it cannot lead from one
prediction to its own generation. These links are found by the hashes that are the data versions.
"""

import contextlib
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import dagster as dg

from aela.learning.checkpoints import MODELS, TRAINED, Card
from aela.memory import manifest as manifests
from aela.memory.manifest import Entry, UnknownManifest
from aela.mimicry import generation as generations
from aela.mimicry.generation import Generation, UnknownGeneration
from aela.storage import Home

VERSION_TAG = "dagster/data_version"
LOOKED_UP = 5  # materializations in one query: their metadata holds pictures
MOST_LOOKED_UP = 25
MOST_TOLD = 100  # videos that are told which generation learned from them
MOST_LINKED = 100  # videos in one table


def run_of(instance: dg.DagsterInstance, asset: str, version: str) -> str | None:
    """The run that made this version of an unpartitioned asset, if it is among the newest."""
    cursor = None
    for _ in range(MOST_LOOKED_UP // LOOKED_UP):
        found = instance.fetch_materializations(dg.AssetKey(asset), LOOKED_UP, cursor)
        for record in found.records:
            made = record.asset_materialization
            same = made and (made.tags or {}).get(VERSION_TAG) == version
            if same and record.run_id:  # None made it where it was only told that it speaks again.
                return record.run_id
        if not found.has_more:
            break
        cursor = found.cursor
    return None


def back(
    instance: dg.DagsterInstance, versions: Mapping[str, tuple[str, str]]
) -> dict[str, dg.MetadataValue]:
    """Links to the runs that made what something was made of.

    Args:
        versions: asset and data version of each thing, by its name.
    """
    links: dict[str, dg.MetadataValue] = {}
    for name, (asset, version) in versions.items():
        links[f"{name}_asset"] = dg.MetadataValue.asset(dg.AssetKey(asset))
        if run := run_of(instance, asset, version):
            links[f"{name}_run"] = dg.MetadataValue.dagster_run(run)
    return links


def of_card(instance: dg.DagsterInstance, card: Card) -> dict[str, dg.MetadataValue]:
    """Links from a checkpoint to its memory, inputs and parent."""
    versions = {"manifest": ("memory", card.manifest)}
    versions |= {name: (name, sha) for name, sha in card.inputs.items() if name in TRAINED}
    if card.parent:
        versions["parent"] = (card.model, card.parent)
    return back(instance, versions)


def of_generation(
    instance: dg.DagsterInstance, generation: Generation
) -> dict[str, dg.MetadataValue]:
    """Links from a generation to its checkpoints, its memory and the one that spoke before."""
    versions = {model: (model, getattr(generation, model)) for model in MODELS}
    versions["manifest"] = ("memory", generation.manifest)
    if generation.parent:
        versions["parent"] = ("generation", generation.parent)
    return back(instance, versions)


def told(home: Home, generation: Generation) -> Iterator[dg.AssetObservation]:
    """Tells the videos that a generation remembers, and its parent does not, that it learned from
    them.

    Not those that its parent remembered under the same content: what this costs grows with what is
    new. `aela trace VIDEO` tells everything of any video.
    """
    known: set[Entry] = set()
    if generation.parent:
        # What is gone from there is told once more.
        with contextlib.suppress(UnknownGeneration, UnknownManifest):
            before = generations.read(home, generation.parent)
            known.update(manifests.read(home, before.manifest).entries)
    new = [e for e in manifests.read(home, generation.manifest).entries if e not in known]
    for entry in new[:MOST_TOLD]:
        for sense, count in (("frames", entry.frames), ("clips", entry.clips)):
            if count:
                yield dg.AssetObservation(
                    sense,
                    partition=entry.video,
                    description="A generation learned from it, and the one before had not.",
                    metadata={
                        "learned_by_generation": generation.sha,
                        "learned_by_asset": dg.MetadataValue.asset(dg.AssetKey("generation")),
                        "content": entry.content,
                        "all_that_depends_on_it": f"aela trace {entry.video}",
                    },
                )


def videos_table(numbers: Mapping[str, list[str]], header: list[str]) -> dg.MarkdownMetadataValue:
    """A table of videos with a link to the frames of each, and what is told of it beside."""
    lines = ["| " + " | ".join(["video", *header]) + " |", "|---" * (len(header) + 1) + "|"]
    lines += [
        "| " + " | ".join([f"[{video}]({frames_page(video)})", *cells]) + " |"
        for video, cells in list(numbers.items())[:MOST_LINKED]
    ]
    if len(numbers) > MOST_LINKED:
        lines.append(f"\n{len(numbers) - MOST_LINKED} more are not shown.")
    return dg.MetadataValue.md("\n".join(lines))


def frames_page(video: str) -> str:
    """Where the UI shows the frames of a video."""
    return f"/assets/frames?view=partitions&partition={quote(video)}"
