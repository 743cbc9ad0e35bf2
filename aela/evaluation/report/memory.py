"""What it remembers: how much, what it is like, and what was left out and why."""

from collections import Counter

import numpy as np

from aela.evaluation import charts, page
from aela.evaluation.pictures import evenly
from aela.memory.store import Remembered

MOST_VIDEOS = 200  # rows


def remembered(
    memory: list[Remembered], sizes: dict[str, int], statistics: dict[str, np.ndarray]
) -> str:
    """The section, empty where nothing is remembered."""
    if not memory and not sizes:
        return ""
    parts = [page.how("What was kept of each video, and what was left out and why.")]
    if sizes:
        rows = [[what, _size(size)] for what, size in sizes.items()]
        parts.append(page.table(["", "size"], [*rows, ["together", _size(sum(sizes.values()))]]))
    measured = {name: values for name, values in statistics.items() if len(values)}
    if measured:
        figures = "".join(
            page.figure(
                charts.histogram(values, name),
                f"{len(values):,} values, the middle one is {np.median(values):.2f}",
            )
            for name, values in measured.items()
        )
        parts.append(
            "<h3>What it is like</h3>"
            + page.how(
                "How many clips or frames lie where; the dashed line is the middle one. Short or "
                "quiet words and blurred frames are harder to learn from."
            )
            + f'<div class="charts">{figures}</div>'
        )
    parts += [_left_out(memory), _videos(memory)]
    return "".join(parts)


def _left_out(memory: list[Remembered]) -> str:
    frames, clips = Counter[str](), Counter[str]()
    for entry in memory:
        frames.update(entry.frame_rejections)
        clips.update(entry.clip_rejections)
    if not frames and not clips:
        return ""
    kept = sum(entry.frames for entry in memory), sum(entry.clips for entry in memory)
    figures = [
        page.figure(charts.bars(counts), f"{what}: {counts.total():,} left out, {number:,} kept")
        for what, counts, number in (("frames", frames, kept[0]), ("sounds", clips, kept[1]))
        if counts
    ]
    return (
        "<h3>What was left out and why</h3>"
        + page.how("How many frames and sounds were looked at and not kept, by the reason.")
        + f'<div class="charts">{"".join(figures)}</div>'
    )


def _videos(memory: list[Remembered]) -> str:
    if not memory:
        return ""
    rows = [
        [
            entry.video,
            ", ".join(entry.roles),
            f"{entry.frames:,}",
            _reasons(entry.frame_rejections),
            f"{entry.clips:,}",
            _reasons(entry.clip_rejections),
        ]
        for entry in (memory[row] for row in evenly(len(memory), MOST_VIDEOS))
    ]
    header = ["video", "role", "frames", "left out", "clips", "left out"]
    more = len(memory) - len(rows)
    left_out = f"<p>{more:,} more videos are not shown.</p>" if more else ""
    return (
        f"<details><summary>Video by video</summary>{page.table(header, rows)}{left_out}</details>"
    )


def _reasons(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
