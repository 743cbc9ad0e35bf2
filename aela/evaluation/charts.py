"""Small charts as SVG in the colours of the page they stand in, which scale with it."""

from collections.abc import Mapping, Sequence

import numpy as np

from aela.evaluation.page import text

WIDTH, HEIGHT = 320, 170  # units of the drawing
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 10, 34  # around what is drawn
LANE = 44  # height of one distribution
BINS = 30
TICKS = 4
LOGARITHMIC_FROM = 50  # greatest over least value
COLOURS = 3  # of lines, in the page's style

Points = Sequence[tuple[float, float]]


def lines(
    series: Mapping[str, Points],
    x_name: str,
    y_name: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    dots: bool = False,
    marked: tuple[float, float, str] | None = None,
) -> str:
    """One line for each series of points (x, y).

    The axis is logarithmic where values differ much and are all above 0.

    Args:
        x_range, y_range: what the axes span at least; None for that of the values.
        dots: show each point, too. marked: x, y and text of a point to point at.

    Raises:
        ValueError: there are no points.
    """
    points = [point for of in series.values() for point in of]
    if not points:
        raise ValueError("A chart needs at least one point.")
    xs, ys = (np.array(values, float) for values in zip(*points, strict=True))
    logarithmic = y_range is None and ys.min() > 0 and ys.max() / ys.min() > LOGARITHMIC_FROM
    lowest, highest = y_range or (ys.min(), ys.max())
    leftmost, rightmost = x_range or (xs.min(), xs.max())
    across = min(leftmost, xs.min()), max(rightmost, xs.max())
    x_axis = _Axis(*across, LEFT, WIDTH - RIGHT, whole=_whole(xs))
    up = min(lowest, ys.min()), max(highest, ys.max())
    y_axis = _Axis(*up, HEIGHT - BOTTOM, TOP, logarithmic=logarithmic, whole=_whole(ys))
    drawn, names = [], []
    for number, (name, of) in enumerate(series.items()):
        places = [(x_axis.at(x), y_axis.at(y)) for x, y in of]
        colour = f"c{number % COLOURS}"
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline class="line {colour}" points="{path}"/>')
        if dots:
            drawn += [
                _dot(x, y, colour, f"{p[0]:g}: {p[1]:.2f}")
                for (x, y), p in zip(places, of, strict=True)
            ]
        names.append(name)
    if marked:
        x, y = x_axis.at(marked[0]), y_axis.at(marked[1])
        drawn.append(f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="7"/>')
        side, anchor = (11, "start") if x < WIDTH / 2 else (-11, "end")
        drawn.append(_text(x + side, y - 9, marked[2], anchor, "marked"))
    label = f"{y_name} over {x_name}: {', '.join(names)}"
    return _svg(HEIGHT, label, _grid(x_axis, y_axis, HEIGHT, x_name) + "".join(drawn)) + (
        _legend(names) if len(names) > 1 else ""
    )


def histogram(values: np.ndarray, name: str) -> str:
    """How often values [n] lie where; what is beyond the outermost 0.5 % is left out.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("A histogram needs at least one value.")
    low, high = np.quantile(values, [0.005, 0.995])
    if high <= low:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, BINS, (low, high))
    x_axis = _Axis(low, high, LEFT, WIDTH - RIGHT)
    y_axis = _Axis(0, max(counts.max(), 1), HEIGHT - BOTTOM, TOP, whole=True)
    middle = x_axis.at(float(np.median(values)))
    body = (
        _grid(x_axis, y_axis, HEIGHT, name)
        + _columns(counts, edges, x_axis, y_axis, "c0")
        + f'<line class="middle" x1="{middle:.1f}" x2="{middle:.1f}" y1="{TOP}" '
        f'y2="{HEIGHT - BOTTOM}"/>'
    )
    told = f"{name}: {len(values):,} values, median {np.median(values):.2f}"
    return _svg(HEIGHT, told, body)


def lanes(values: Mapping[str, np.ndarray], x_name: str, mark: float, mark_name: str) -> str:
    """Distributions of values from 0 to 1 [n], one below the other, and a line across at `mark`."""
    top = TOP + 14  # below the name of the mark
    height = top + LANE * len(values) + BOTTOM
    x_axis = _Axis(0, 1, 12, WIDTH - RIGHT)
    body = [_x_ticks(x_axis, height, x_name)]
    at = x_axis.at(mark)
    body.append(
        f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{height - BOTTOM}"/>'
    )
    for number, (name, of) in enumerate(values.items()):
        bottom = top + LANE * (number + 1)
        counts, edges = np.histogram(np.clip(of, 0, 1), BINS, (0, 1))
        y_axis = _Axis(0, max(counts.max(), 1), bottom, bottom - LANE + 15)
        body.append(
            f'<line class="grid" x1="12" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
        )
        body.append(_columns(counts, edges, x_axis, y_axis, f"c{number % COLOURS}"))
        below = float(np.mean(np.asarray(of) <= mark))
        body.append(_text(12, bottom - LANE + 11, f"{name}: {below:.0%} below", "start", "name"))
    body.append(_text(at, TOP + 6, mark_name, "middle", "marked"))
    return _svg(height, f"{x_name}: {', '.join(values)}; {mark_name}", "".join(body))


def bars(counts: Mapping[str, int]) -> str:
    """Counts by name as bars, the largest first."""
    most = max(counts.values(), default=0)
    rows = "".join(
        f'<li><span>{text(name)}</span><b style="width:{100 * count / most:.1f}%"></b>'
        f"<span>{count:,}</span></li>"
        for name, count in sorted(counts.items(), key=lambda item: -item[1])
    )
    return f'<ul class="bars">{rows}</ul>'


class _Axis:
    """Where values from `low` to `high` lie between two places of the drawing."""

    def __init__(
        self,
        low: float,
        high: float,
        start: float,
        end: float,
        *,
        logarithmic: bool = False,
        whole: bool = False,
    ) -> None:
        self.logarithmic, self.whole = logarithmic, whole
        self.low, self.high = float(low), float(high) if high > low else float(low) + 1
        self.start, self.end = start, end

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = np.log((low, high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        from matplotlib.ticker import LogLocator, MaxNLocator

        counted = MaxNLocator(TICKS, integer=self.whole)
        locator = LogLocator(numticks=TICKS + 1) if self.logarithmic else counted
        values = locator.tick_values(self.low, self.high)
        slack = 1e-6 * (self.high - self.low)
        return [v for v in values if self.low - slack <= v <= self.high + slack]


def _whole(values: np.ndarray) -> bool:
    """Whether these are counts, between which there is nothing."""
    return bool(np.all(values == np.round(values)))


def _grid(x_axis: _Axis, y_axis: _Axis, height: float, x_name: str) -> str:
    drawn = [_x_ticks(x_axis, height, x_name)]
    for value in y_axis.ticks():
        y = y_axis.at(value)
        drawn.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        drawn.append(_text(LEFT - 5, y + 4, _short(value), "end"))
    return "".join(drawn)


def _x_ticks(axis: _Axis, height: float, name: str) -> str:
    base = height - BOTTOM
    ticks = "".join(
        _text(x, base + 14, _short(value), "middle")
        if (x := axis.at(value)) < WIDTH - 2 * RIGHT
        else _text(WIDTH - 1, base + 14, _short(value), "end")
        for value in axis.ticks()
    )
    return ticks + _text((axis.start + axis.end) / 2, base + 29, name, "middle")


def _columns(
    counts: np.ndarray, edges: np.ndarray, x_axis: _Axis, y_axis: _Axis, colour: str
) -> str:
    base = y_axis.at(0)
    return "".join(
        f'<rect class="{colour}" x="{x_axis.at(low):.1f}" y="{y_axis.at(count):.1f}" '
        f'width="{max(0.5, x_axis.at(high) - x_axis.at(low) - 0.7):.1f}" '
        f'height="{base - y_axis.at(count):.1f}"/>'
        for count, low, high in zip(counts, edges, edges[1:], strict=False)
        if count
    )


def _dot(x: float, y: float, colour: str, told: str) -> str:
    return (
        f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{text(told)}</title>'
        "</circle>"
    )


def _text(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(words)}</text>'


def _legend(names: list[str]) -> str:
    shown = "".join(
        f'<span><i class="c{number % COLOURS}"></i>{text(name)}</span>'
        for number, name in enumerate(names)
    )
    return f'<p class="legend">{shown}</p>'


def _svg(height: float, label: str, body: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{text(label)}">{body}</svg>'
    )


def _short(value: float) -> str:
    if value and (abs(value) >= 10_000 or abs(value) < 0.01):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.10g}"
