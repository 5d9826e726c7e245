"""The geometry of the plots: x in per cent of the width, y in pixels from the top."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from app.report import formatting
from app.statistics.duration_sketch import DurationSketch
from app.statistics.queries import DailyStatistics, ExportCounts

HEIGHT = 220
BINS_MAX = 92
LABELS_MAX = 6
BAR_MAX = 7.0
SHARE = 0.78
"""The share of its slot that a bar fills."""

ROUND_S = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000)
FINER_S = tuple(
    sorted(
        {*(step * 10.0**decade for decade in (-3, -2, -1, 0, 1) for step in (1, 2, 5))}
        | {*(step * unit for unit in (60.0, 3600.0) for step in (1, 2, 5, 10, 20))}
    )
)
"""The ticks of a duration axis, ``ROUND_S`` for a long and ``FINER_S`` for a short one."""

STEP = 10 ** (1 / 6)
"""The ratio between the bounds of each bar of the distribution."""


@dataclass(frozen=True)
class DayBin:
    """Consecutive days that are drawn as one; ``is_unfinished`` where today is one of them."""

    name: str
    counts: ExportCounts
    processing: DurationSketch
    is_unfinished: bool = False

    @property
    def title(self) -> str:
        """The name, with a mark where the last day is not over."""
        return f"{self.name}, so far" if self.is_unfinished else self.name


@dataclass(frozen=True)
class Tick:
    """A label on an axis and its position."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A rectangle; ``kind`` selects its colour, ``label`` is its tooltip."""

    x: float
    width: float
    y: float
    height: float
    kind: str
    label: str


@dataclass(frozen=True)
class BarChart:
    """Vertical bars; ``down`` are the ticks of the y axis, ``across`` those of the x axis."""

    bars: list[Bar]
    down: list[Tick]
    across: list[Tick]


@dataclass(frozen=True)
class Point:
    """A point of a curve; ``label`` is its tooltip."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class LineChart:
    """Two curves by day, on a logarithmic y axis; ``None`` where a day has no value."""

    middle: list[Point | None]
    high: list[Point | None]
    down: list[Tick]
    across: list[Tick]


def bin_days(days: Sequence[DailyStatistics], most: int = BINS_MAX) -> list[DayBin]:
    """Return at most ``most`` bins of equally many days; only the first may have fewer.

    The last day of ``days`` is today.
    """
    length = math.ceil(len(days) / most)
    starts = range(len(days) % length - length if len(days) % length else 0, len(days), length)
    bins = [combined(days[max(0, start) : start + length]) for start in starts]
    return [*bins[:-1], replace(bins[-1], is_unfinished=True)]


def combined(days: Sequence[DailyStatistics]) -> DayBin:
    """Return one bin of all these consecutive days, at least one."""
    counts = ExportCounts()
    for day in days:
        for name, number in vars(day.counts).items():
            setattr(counts, name, getattr(counts, name) + number)
    first, last = formatting.day(days[0].day), formatting.day(days[-1].day)
    name = first if len(days) == 1 else f"{first} – {last}"
    return DayBin(name, counts, DurationSketch.merged(day.processing for day in days))


def last_slot(bins: Sequence[DayBin]) -> tuple[float, float]:
    """Return where the last bin is drawn: its slot's left edge and width."""
    return 100 * (1 - 1 / len(bins)), 100 / len(bins)


def exports_by_day(bins: Sequence[DayBin]) -> BarChart:
    """Return the chart of the exports requested on each day, stacked by result."""
    most = max((each.counts.requested for each in bins), default=0)
    top, down = _axis(most)
    bars = []
    for number, each in enumerate(bins):
        x, width = _place(number, len(bins))
        bars += _stack(each, x, width, top)
    return BarChart(bars, down, _days_across(bins))


def times_by_day(bins: Sequence[DayBin]) -> LineChart:
    """Return the chart of the median and 95th percentile of each day's processing times."""
    shares = (0.5, 0.95)
    figures = [[each.processing.quantile_s(share) for each in bins] for share in shares]
    present = [figure for curve in figures for figure in curve if figure is not None]
    low, high = _around(present)
    middle, upper = (_dots(bins, curve, low, high) for curve in figures)
    down = [Tick(_log_y(at, low, high), formatting.duration(at)) for at in _marks(low, high)]
    return LineChart(middle, upper, down, _days_across(bins))


def distribution(durations: DurationSketch) -> tuple[BarChart, list[Tick]]:
    """Return the histogram of durations, and marks at the median and the 95th percentile."""
    figures = {share: durations.quantile_s(share) for share in (0, 0.5, 0.95, 1)}
    low, high = _around([figure for figure in figures.values() if figure is not None])
    steps = round(math.log(high / low) / math.log(STEP))
    edges = [low * STEP**step for step in range(steps + 1)]
    counts = durations.histogram(edges)
    top, down = _axis(max(counts))
    bars = []
    for number, (count, (start, end)) in enumerate(zip(counts, pairwise(edges), strict=True)):
        if count:
            label = f"{formatting.duration(start)} to {formatting.duration(end)}: {count:,}"
            x, width = 100 * number / steps, 100 / steps * 0.92
            bars.append(_bar(x, width, 0, count, top, "succeeded", label))
    across = [Tick(_log_x(at, low, high), formatting.duration(at)) for at in _marks(low, high)]
    marks = [
        Tick(_log_x(figure, low, high), f"{name} {formatting.duration(figure)}")
        for name, figure in (("median", figures[0.5]), ("95 %", figures[0.95]))
        if figure is not None
    ]
    return BarChart(bars, down, across), marks


def band_path(curves: LineChart) -> str:
    """Return the SVG path of the area between both curves, over the days with values."""
    paths = []
    for run in _runs(list(zip(curves.middle, curves.high, strict=True))):
        upper = [(dot.x, dot.y) for _, dot in run]
        lower = [(dot.x, dot.y) for dot, _ in reversed(run)]
        paths.append("M" + "L".join(f"{x:.2f} {y:.1f}" for x, y in [*upper, *lower]) + "Z")
    return "".join(paths)


def line_path(dots: Iterable[Point | None]) -> str:
    """Return the SVG path of a curve, interrupted at days without a value."""
    path, is_drawn = "", False
    for dot in dots:
        if dot is not None:
            path += f"{'L' if is_drawn else 'M'}{dot.x:.2f} {dot.y:.1f}"
        is_drawn = dot is not None
    return path


def _stack(each: DayBin, x: float, width: float, top: float) -> list[Bar]:
    counts = each.counts
    rest = counts.requested - counts.succeeded - counts.failed
    bars, below = [], 0
    for kind, count in (("succeeded", counts.succeeded), ("failed", counts.failed), ("rest", rest)):
        if count:
            name = "cancelled or under way" if kind == "rest" else kind
            label = f"{each.title}: {count:,} {name}"
            bars.append(_bar(x, width, below, count, top, kind, label))
            below += count
    return bars


def _bar(
    x: float, width: float, below: float, count: float, top: float, kind: str, label: str
) -> Bar:
    height = HEIGHT * count / top
    return Bar(x, width, HEIGHT - HEIGHT * below / top - height, height, kind, label)


def _place(number: int, count: int) -> tuple[float, float]:
    """Return the left edge and the width of one of ``count`` bars."""
    width = min(SHARE * 100 / count, BAR_MAX)
    return 100 * (number + 0.5) / count - width / 2, width


def _axis(most: float) -> tuple[float, list[Tick]]:
    """Return the top of an axis of counts, and its round ticks."""
    raw = max(most, 1) / 4
    magnitude = 10 ** math.floor(math.log10(raw))
    step = max(1, next(s * magnitude for s in (1, 2, 5, 10) if s * magnitude >= raw))
    top = step * math.ceil(max(most, 1) / step)
    values = range(0, int(top) + 1, int(step))
    return top, [Tick(HEIGHT - HEIGHT * value / top, f"{value:,}") for value in values]


def _days_across(bins: Sequence[DayBin]) -> list[Tick]:
    every = math.ceil(len(bins) / LABELS_MAX)
    return [
        Tick(100 * (number + 0.5) / len(bins), each.name.partition(" – ")[0])
        for number, each in enumerate(bins)
        if (len(bins) - 1 - number) % every == 0
    ]


def _dots(
    bins: Sequence[DayBin], curve: Sequence[float | None], low: float, high: float
) -> list[Point | None]:
    return [
        None
        if figure is None
        else Point(
            100 * (number + 0.5) / len(bins),
            _log_y(figure, low, high),
            f"{each.title}: {formatting.duration(figure)}",
        )
        for number, (each, figure) in enumerate(zip(bins, curve, strict=True))
    ]


def _runs(pairs: Sequence[tuple[Point | None, Point | None]]) -> list[list[tuple[Point, Point]]]:
    runs: list[list[tuple[Point, Point]]] = [[]]
    for low, high in pairs:
        if low is None or high is None:
            runs.append([])
        else:
            runs[-1].append((low, high))
    return [run for run in runs if run]


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis for ``values``: whole steps, at least a decade apart."""
    if not values:
        return 0.1, 10.0
    low = math.floor(math.log(min(values), STEP))
    high = math.ceil(math.log(max(values), STEP) + 1e-9)
    missing = max(0, 6 - (high - low))
    return STEP ** (low - missing // 2), STEP ** (high + missing - missing // 2)


def _marks(low: float, high: float) -> list[float]:
    # The ends are powers, rounded: a mark that is exactly at an end would be lost.
    low, high = low * 0.999, high * 1.001
    coarse = [at for at in ROUND_S if low <= at <= high]
    return coarse if len(coarse) > 2 else [at for at in FINER_S if low <= at <= high]


def _log_y(seconds: float, low: float, high: float) -> float:
    return HEIGHT - HEIGHT * math.log(seconds / low) / math.log(high / low)


def _log_x(seconds: float, low: float, high: float) -> float:
    return 100 * math.log(seconds / low) / math.log(high / low)
