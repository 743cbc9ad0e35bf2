"""Live memory: each minute of a live source becomes a video of its own, without a file.

A minute is written like any other video, and made known last: until then nobody sees anything of
it. What a killed recording left of its open minute is cleared away when the next one begins.
"""

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from rich.console import Console
from rich.markup import escape
from upath import UPath

from aela.capture import CaptureSettings
from aela.capture.live import Live, Minute
from aela.memory import forget as forgetting
from aela.memory import store, videos
from aela.memory.store import Remembered
from aela.memory.videos import ROLES, Role, Video
from aela.storage import Home
from aela_dagster.runs import Runner, plain
from assets import common, senses

RETRY_S = 5.0  # between tries to write a minute, as when the disk is full
Tell = Callable[[str], None]


def teller(console: Console) -> Tell:
    """Says sentences on the terminal that somebody should read."""

    def tell(sentence: str) -> None:
        console.print(f"  [yellow]![/] {escape(sentence)}", highlight=False, soft_wrap=True)

    return tell


def stopped_by_signals(stop: Callable[[], None]) -> None:
    """Have Ctrl+C, SIGTERM and the end of the terminal stop something in order, the first time; a
    second time ends at once."""
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before = signal.getsignal(ending)

        def caught(number: int, _: object, before: Any = before) -> None:
            stop()
            signal.signal(number, before)

        signal.signal(ending, caught)


def run(
    console: Console,
    runner: Runner,
    source: str,
    role: str,
    minutes: int | None,
    replay: bool,
) -> None:
    """Record, say each minute on the terminal, and end in order at Ctrl+C, SIGTERM, or with the
    terminal.

    Raises:
        UnreadableVideo, ValueError, OSError: as `record`.
    """

    from aela_dagster.definitions import the_memory

    tell = teller(console)
    live = Live(source, the_memory.capture_settings, replay=replay, tell=tell)
    stopped_by_signals(live.stop)
    console.print(f"Following {escape(live.name)}; stop with Ctrl+C.", highlight=False)
    for entry in record(
        runner.home, live, cast(Role, role), runner.instance, minutes=minutes, tell=tell
    ):
        noted = store.left_out(entry.frame_rejections, entry.clip_rejections)
        console.print(
            f"  [green]✓[/] {entry.video}: {entry.frames} frames, {entry.clips} clips"
            + (f"; left out {noted}" if noted else ""),
            highlight=False,
            soft_wrap=True,
        )


def record(
    home: Home,
    live: Live,
    role: Role,
    instance: dg.DagsterInstance,
    *,
    minutes: int | None = None,
    tell: Tell = lambda sentence: None,
) -> Iterator[Remembered]:
    """Follow a live source and yield each minute that memory holds, until it is stopped or ends.

    Args:
        minutes: stop after so many.
        tell: is given a sentence when something goes wrong that recording survives.

    Raises:
        UnreadableVideo: there was nothing to connect to in the first place.
        ValueError: `role` is not one of ROLES.
        OSError: a minute could not be written until the stop.
    """
    if role not in ROLES:
        raise ValueError(f"A video's role is one of {', '.join(ROLES)}, not {role!r}.")
    clear_away(home)
    _finish_cuts(home, tell)
    untold = _unknown(home, instance)
    with _begun(home) as name:
        for minute in live.minutes(most=minutes):
            entry = _write_patiently(home, f"{name}-{minute.number:05d}", live, role, minute, tell)
            untold = _announce(home, [*untold, entry], instance, live.settings, tell)
            yield entry


def clear_away(home: Home) -> None:
    """Delete what recordings that were killed left of the minute they were writing."""
    if home.root.protocol or not home.recordings.exists():  # Uploads are whole or not there.
        return
    for mark in home.recordings.iterdir():
        with Path(str(mark)).open("rb") as file:
            if not locked(file.fileno()):  # It is still being recorded.
                continue
            for rows in (home.frames("*"), home.clips("*"), home.rejections("*")):
                _delete_unknown(home, rows.parent, mark.name)
            _delete_unknown(home, home.index, mark.name)
            for left in home.videos.glob(f".{mark.name}-*"):
                left.unlink(missing_ok=True)
            mark.unlink(missing_ok=True)


def _delete_unknown(home: Home, folder: UPath, name: str) -> None:
    """Delete what belongs to minutes of a recording that were never made known."""
    for pattern in (f"{name}-*", f".{name}-*"):
        for path in folder.glob(pattern):
            hidden = path.name.startswith(".")
            if hidden or not (home.videos / f"{path.stem}.json").exists():
                path.unlink(missing_ok=True)


@contextmanager
def _begun(home: Home) -> Iterator[str]:
    """The name of a new recording, which nobody else has while it lasts."""
    start = datetime.now(UTC)
    if home.root.protocol:
        yield f"live-{start:%Y%m%dT%H%M%SZ}-{os.urandom(2).hex()}"
        return
    folder = Path(str(home.recordings))
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        mark = folder / f"live-{start:%Y%m%dT%H%M%SZ}"
        with contextlib.suppress(FileExistsError):
            handle = os.open(mark, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644)
            if not any(home.videos.glob(f"{mark.name}-*")):
                break
            os.close(handle)
            mark.unlink()
        start += timedelta(seconds=1)
    try:
        locked(handle)
        yield mark.name
    finally:
        os.close(handle)
        clear_away(home)


def locked(handle: int) -> bool:
    """Lock an open file until it is closed; False when somebody else has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_patiently(
    home: Home, key: str, live: Live, role: Role, minute: Minute, tell: Tell
) -> Remembered:
    """Write a minute; while that fails, the source is followed and older packets are dropped."""
    while True:
        try:
            return _write(home, key, live.name, role, minute)
        except OSError as error:
            if live.stopping.is_set():
                raise
            tell(f"{key} could not be written ({error.strerror or error}); trying again.")
        live.stopping.wait(RETRY_S)


def _write(home: Home, key: str, source: str, role: Role, minute: Minute) -> Remembered:
    added = datetime.now(UTC).isoformat()
    video = Video(key, (role,), (source,), None, "", 0, added)
    entry = store.remember(home, video, minute.sensed)
    videos.make_known(home, replace(video, sha256=entry.content))
    return entry


def minute_number(video: str) -> int:
    """Which minute of its recording a video is, by its key."""
    return int(video.rpartition("-")[2].partition("_")[0])


def cut(
    runner: Runner, video: str, left_out: Callable[[str, float, float], bool], tell: Tell
) -> str | None:
    """Forget a part of a minute: what is left of it becomes another video, and it is forgotten.

    Args:
        left_out: is given "frame" or "clip", and where it starts and ends, in seconds from the
            start of the minute.

    Returns:
        the key of what is left; None if nothing is.

    Raises:
        UnknownVideo: there is no such video.
        ValueError: a run is busy with it.
    """
    from aela_dagster.definitions import the_memory

    home = runner.home
    runner.ready_to_forget(video)
    rest = replace(videos.find(home, video), video=_key_of_rest(video))
    entry = store.remember_rest(home, video, rest, left_out)
    anything = bool(entry.frames or entry.clips)
    if anything:
        videos.make_known(home, replace(rest, sha256=entry.content))
        _announce(home, [entry], runner.instance, the_memory.capture_settings, tell)
    else:
        of = (home.frames, home.clips, home.rejections)
        for path in (home.index / f"{rest.video}.json", *(rows(rest.video) for rows in of)):
            path.unlink()
    forgetting.forget(home, video)
    try:
        runner.forget(video)
    except Exception as error:  # Its rows are gone, and what is left of it has its place.
        tell(f"Dagster may still show {video} ({error}); `aela memory forget {video}` ends that.")
    return rest.video if anything else None


def _key_of_rest(video: str) -> str:
    """The key of what is left of a minute when a part of it is forgotten."""
    name, _, times = video.partition("_")
    return f"{name}_{int(times or 1) + 1}"


def _finish_cuts(home: Home, tell: Tell) -> None:
    """Forget minutes of which what is left is known already: a kill came between both."""
    live = {video.video for video in videos.known(home) if video.file is None}
    for video in sorted(live):
        if _key_of_rest(video) in live:
            forgetting.forget(home, video)
            tell(f"A moment in {video} is forgotten; `aela memory forget {video}` tells Dagster.")


def _unknown(home: Home, instance: dg.DagsterInstance) -> list[Remembered]:
    """Minutes in memory that Dagster was never told of."""
    told = set(instance.get_dynamic_partitions(common.videos.name or ""))
    live = {video.video for video in videos.known(home) if video.file is None}
    return [entry for entry in store.remembered(home) if entry.video in live - told]


def _announce(
    home: Home,
    entries: list[Remembered],
    instance: dg.DagsterInstance,
    settings: CaptureSettings,
    tell: Tell,
) -> list[Remembered]:
    """Tell Dagster of new minutes; those that it could not be told of.

    The sensors go by what lies in memory: they miss nothing meanwhile.
    """
    for number, entry in enumerate(entries):
        try:
            for result in senses.results(home, entry, settings):
                instance.report_runless_asset_event(_event(entry, result))
            instance.add_dynamic_partitions(common.videos.name or "", [entry.video])
        except Exception as error:  # Whatever goes wrong there, what is heard now is worth more.
            tell(f"Dagster could not be told of {entry.video} ({error}); trying again.")
            return entries[number:]
    return []


def _event(
    entry: Remembered, result: dg.MaterializeResult | dg.AssetCheckResult
) -> dg.AssetMaterialization | dg.AssetCheckEvaluation:
    """The event of a minute that no run made."""
    asset = result.asset_key or ""
    if isinstance(result, dg.AssetCheckResult):
        return dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey.from_coercible(asset),
            check_name=result.check_name or "",
            passed=result.passed,
            severity=result.severity,
            metadata=result.metadata,
            partition=entry.video,
        )
    return plain(
        dg.AssetMaterialization(
            asset,
            partition=entry.video,
            metadata=result.metadata,
            tags={DATA_VERSION_TAG: entry.content},
        )
    )
