"""Frames and clips: what the senses keep of a video, from one decoding pass."""

from collections.abc import Iterator

import dagster as dg

from aela.capture import CaptureSettings, UnreadableVideo, capture
from aela.memory import store, videos
from aela.memory.store import Remembered
from aela.mimicry.predict import withdraw
from aela.storage import Home
from assets import common
from resources.memory import Memory

MOST_BLURRY = 0.5  # share of looked-at frames; above it a video is hardly worth learning from
SHOWN_FRAMES = 24
SHOWN_CLIPS = 8

FRAME_COLUMNS = common.columns(
    {
        "time_s": ("double", "seconds from the start of the video"),
        "jpeg": ("binary", "the picture, upright"),
        "width": ("int32", "pixels"),
        "height": ("int32", "pixels"),
        "sharpness": ("float", "fine detail relative to coarse detail"),
        "before": ("binary", "small JPEG of the view about 0.3 s earlier"),
        "after": ("binary", "small JPEG of the view about 0.3 s later"),
    }
)
CLIP_COLUMNS = common.columns(
    {
        "start_s": ("double", "where the audible word starts in the video"),
        "end_s": ("double", "where it ends"),
        "flac": ("binary", "the sound, 44.1 kHz mono, padded to at least 1 s"),
        "word_start_s": ("float", "where the word starts inside the sound"),
        "level_db": ("float", "level of the word, dB full scale"),
        "snr_db": ("float", "level above the background noise"),
    }
)


@dg.multi_asset(
    name="capture",
    partitions_def=common.videos,
    retry_policy=common.RETRY_STORAGE,
    specs=[
        dg.AssetSpec(
            "frames",
            description="The sharpest picture of each second of the video; blurry ones left out.",
            group_name="senses",
            kinds={"pyav", "parquet"},
            owners=common.OWNERS,
            metadata={"dagster/column_schema": FRAME_COLUMNS},
        ),
        dg.AssetSpec(
            "clips",
            description="The spoken words of the video; knocks and noise left out.",
            group_name="senses",
            kinds={"pyav", "parquet"},
            owners=common.OWNERS,
            metadata={"dagster/column_schema": CLIP_COLUMNS},
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "mostly_sharp",
            asset="frames",
            description=f"At most {MOST_BLURRY:.0%} of the looked-at frames were blurry.",
        ),
        dg.AssetCheckSpec(
            "clip_lengths",
            asset="clips",
            description="Every clip is as long as the capture settings allow.",
        ),
    ],
)
def senses(
    context: dg.AssetExecutionContext, memory: Memory
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    home, settings = memory.home, memory.capture_settings
    with common.plain_failures():
        video = videos.find(home, context.partition_key)
        before = store.content(home, video.video)
        try:
            with videos.local_copy(home, video) as path:
                entry = store.remember(home, video, capture(path, settings))
        except UnreadableVideo as error:
            if before:
                raise UnreadableVideo(f"{error} What is remembered of it stays.") from error
            kept = videos.quarantine(home, video, str(error))
            raise UnreadableVideo(f"{error} It was set aside as {kept}.") from error
    if before not in (None, entry.content):
        withdraw(home, video.video)
    context.log.info(
        f"{entry.frames} frames and {entry.clips} clips; "
        f"left out {entry.frame_rejections or 'no frame'}, {entry.clip_rejections or 'no sound'}"
    )
    yield from results(home, entry, settings)


def results(
    home: Home, entry: Remembered, settings: CaptureSettings
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """What Dagster is told of a video that was captured."""
    version = dg.DataVersion(entry.content)
    yield dg.MaterializeResult(
        "frames", metadata=_frame_metadata(home, entry), data_version=version
    )
    yield dg.MaterializeResult("clips", metadata=_clip_metadata(home, entry), data_version=version)
    yield _mostly_sharp(entry)
    yield _clip_lengths(home, entry, settings)


def _frame_metadata(home: Home, entry: Remembered) -> dict[str, dg.MetadataValue]:
    from aela.evaluation import pictures

    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(entry.frames),
        "role": dg.MetadataValue.text(", ".join(entry.roles)),
        "left_out": dg.MetadataValue.json(entry.frame_rejections),
        "content": dg.MetadataValue.text(entry.content),
        "path": dg.MetadataValue.path(str(home.frames(entry.video))),
    }
    if entry.frames:
        rows = pictures.evenly(entry.frames, SHOWN_FRAMES)
        frames = store.read_rows(home, entry.video, "frame", rows, ["jpeg", "time_s"])
        sheet = pictures.contact_sheet(frames["jpeg"].to_pylist(), _times(frames["time_s"]))
        metadata["contact_sheet"] = common.picture(sheet)
    return metadata


def _clip_metadata(home: Home, entry: Remembered) -> dict[str, dg.MetadataValue]:
    from aela.evaluation import pictures

    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(entry.clips),
        "role": dg.MetadataValue.text(", ".join(entry.roles)),
        "left_out": dg.MetadataValue.json(entry.clip_rejections),
        "content": dg.MetadataValue.text(entry.content),
        "path": dg.MetadataValue.path(str(home.clips(entry.video))),
    }
    if entry.clips:
        rows = pictures.evenly(entry.clips, SHOWN_CLIPS)
        clips = store.read_rows(home, entry.video, "clip", rows, ["flac", "start_s"])
        sounds = [store.from_flac(flac) for flac in clips["flac"].to_pylist()]
        sheet = pictures.spectrograms(sounds, _times(clips["start_s"]))
        metadata["spectrograms"] = common.picture(sheet)
    return metadata


def _times(column: object) -> list[str]:
    return [f"{seconds:.1f} s" for seconds in column.to_pylist()]  # type: ignore[attr-defined]


def _mostly_sharp(entry: Remembered) -> dg.AssetCheckResult:
    blurry = entry.frame_rejections.get("blurry", 0)
    looked_at = entry.frames + blurry
    share = blurry / looked_at if looked_at else 0.0
    return dg.AssetCheckResult(
        check_name="mostly_sharp",
        asset_key="frames",
        passed=share <= MOST_BLURRY,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"blurry_share": share, "frames": entry.frames, "blurry": blurry},
    )


def _clip_lengths(home: Home, entry: Remembered, settings: CaptureSettings) -> dg.AssetCheckResult:
    seconds = [
        store.duration_s(flac)
        for clips in store.in_parts(home, entry.video, "clip")
        for flac in clips["flac"].to_pylist()
    ]
    # A cut at a pause may leave a few milliseconds of rolls beyond the limit.
    longest = settings.clip_seconds_max + settings.pre_roll_s + settings.post_roll_s
    return dg.AssetCheckResult(
        check_name="clip_lengths",
        asset_key="clips",
        passed=all(settings.clip_seconds_min - 0.01 <= s <= longest + 0.01 for s in seconds),
        metadata={"shortest_s": min(seconds, default=0.0), "longest_s": max(seconds, default=0.0)},
    )
