"""The memory asset: a manifest of all frames and clips of `learn` videos."""

import dagster as dg

from aela.memory import manifest as manifests
from assets import common, lineage
from resources.memory import Memory


@dg.asset(
    deps=["frames", "clips"],
    group_name="memory",
    kinds={"json"},
    owners=common.OWNERS,
    retry_policy=common.RETRY_STORAGE,
    description="The exact list of what there is to learn from: every video with its content hash.",
)
def memory(context: dg.AssetExecutionContext, memory: Memory) -> dg.MaterializeResult:
    asked = context.run.tags.get(common.MANIFEST_TAG)
    with common.plain_failures():
        manifest = manifests.read(memory.home, asked) if asked else manifests.take(memory.home)
    if not manifest.entries:
        raise dg.Failure(
            "Memory is empty; drop videos into the inbox's folder `learn` first.",
            allow_retries=False,
        )
    manifests.set_current(memory.home, manifest)
    entries = {
        e.video: [str(e.frames), str(e.clips), f"`{e.content[:12]}`"] for e in manifest.entries
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.sha),
        metadata={
            "videos": len(manifest.entries),
            "frames": manifest.frames,
            "clips": manifest.clips,
            "manifest": manifest.sha,
            "path": dg.MetadataValue.path(str(memory.home.manifest(manifest.sha))),
            "entries": lineage.videos_table(entries, ["frames", "clips", "content"]),
        },
    )
