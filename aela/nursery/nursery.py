"""Makes a whole set of sample videos with its labels."""

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aela.nursery import voice
from aela.nursery.film import Box, film
from aela.nursery.script import SPEAKERS, Plan, Script, plan_videos, write_script
from aela.nursery.settings import NurserySettings
from aela.nursery.soundtrack import word_from
from aela.nursery.things import THINGS, UNKNOWN_THINGS

WORKERS = 2  # videos filmed at the same time

Progress = Callable[[str, int, int], None]


def make_nursery(folder: Path, settings: NurserySettings, progress: Progress | None = None) -> Path:
    """Make `train/*.mp4`, `test/*.mp4` and, last, `labels.json` in `folder`; return its path.

    `progress` is told what is being done, how many videos are done, and of how many. The same
    settings give the same videos. Raises `voice.VoiceError` when the voices are not installed and
    ValueError when `folder` holds videos that do not belong to this set.
    """
    voice.check_installed()
    tell = progress or (lambda _what, _done, _total: None)
    plans = plan_videos(settings)
    _refuse_strangers(folder, plans)
    tell("speaking", 0, len(plans))
    scripts = list(_scripts(plans, settings))
    boxes: dict[str, list[Box]] = {}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=WORKERS, mp_context=spawn) as workers:
        # The longest first, so that no worker is left alone with it at the end.
        order = sorted(scripts, key=lambda s: -s.duration)
        files = {workers.submit(film, s, settings, folder / s.file): s.file for s in order}
        try:
            for done in as_completed(files):
                boxes[files[done]] = done.result()
                tell("filming", len(boxes), len(plans))
        except BaseException:
            workers.shutdown(cancel_futures=True)
            raise
    return _write_labels(folder, settings, scripts, boxes)


def _refuse_strangers(folder: Path, plans: list[Plan]) -> None:
    expected = {folder / plan.file for plan in plans}
    for part in ("train", "test"):
        for found in sorted((folder / part).glob("*.mp4")):
            if found not in expected:
                raise ValueError(
                    f"{found} is not part of this set: choose an empty folder, or delete the "
                    "videos of the earlier one."
                )


def _scripts(plans: list[Plan], settings: NurserySettings) -> Iterator[Script]:
    sayings = [[s for scene in plan.scenes for s in scene.sayings] for plan in plans]
    sounds = iter(voice.speak([s for told in sayings for s in told]))
    for plan, told in zip(plans, sayings, strict=True):
        words = [word_from(next(sounds)) for _ in told]
        yield write_script(plan, words, settings.fps)


def _write_labels(
    folder: Path,
    settings: NurserySettings,
    scripts: list[Script],
    boxes: dict[str, list[Box]],
) -> Path:
    labels = {
        "set": "nursery",
        "seed": settings.seed,
        "note": "for evaluation only; training never reads this file",
        "pairs": {thing.name: thing.word for thing in THINGS[: settings.things]},
        "unknown_objects": [thing.name for thing in UNKNOWN_THINGS],
        "speakers": SPEAKERS,
        "videos": [_video_labels(s, settings, boxes[s.file]) for s in scripts],
        "extended": [],
    }
    path = folder / "labels.json"
    unfinished = path.with_name(".labels.json.part")
    unfinished.write_text(json.dumps(labels, indent=1), encoding="utf-8")
    return unfinished.replace(path)


def _video_labels(script: Script, settings: NurserySettings, boxes: list[Box]) -> dict[str, Any]:
    return {
        "file": script.file,
        "duration": round(script.duration, 3),
        "fps": settings.fps,
        "width": settings.width,
        "height": settings.height,
        "snr_db": script.snr_db,
        "noise_sources": ["synthetic room noise"],
        "segments": [asdict(segment) for segment in script.segments],
        "utterances": [asdict(utterance) for utterance in script.utterances],
        "disturbances": [asdict(disturbance) for disturbance in script.disturbances],
        "blur_intervals": script.blur_intervals,
        "occlusion_intervals": script.occlusion_intervals,
        "boxes": boxes,
    }
