"""The geometry of the plots: across in per cent of the width, down in pixels."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.exports.durations import Durations
from app.exports.statistics import Day, Tally
from app.report import words

HEIGHT = 220
BINS_MAX = 92
LABELS_MAX = 6
BAR_MAX = 7.0
SHARE = 0.78
"""How much of its place a bar fills."""

ROUND_S = (0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000)
FINER_S = tuple(
    sorted(
        {*(step * 10.0**decade for decade in (-3, -2, -1, 0, 1) for step in (1, 2, 5))}
        | {*(step * unit for unit in (60.0, 3600.0) for step in (1, 2, 5, 10, 20))}
    )
)
"""Where an axis of time is marked; finer where it is short."""

STEP = 10 ** (1 / 6)
"""How much longer each bar of the distribution is than the one before."""


@dataclass(frozen=True)
class Bin:
    """Some days that follow each other, drawn as one."""

    name: str
    tally: Tally
    processing: Durations


@dataclass(frozen=True)
class Tick:
    """A value on an axis and where it stands."""

    at: float
    label: str


@dataclass(frozen=True)
class Bar:
    """A rectangle; ``kind`` is its colour's name, ``label`` what it says when pointed at."""

    x: float
    width: float
    y: float
    height: float
    kind: str
    label: str


@dataclass(frozen=True)
class Columns:
    """Upright bars between two axes."""

    bars: list[Bar]
    down: list[Tick]
    across: list[Tick]


@dataclass(frozen=True)
class Dot:
    """One figure of a curve."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Curves:
    """Two curves over time on a logarithmic axis; ``None`` where a day has no figure."""

    middle: list[Dot | None]
    high: list[Dot | None]
    down: list[Tick]
    across: list[Tick]


def binned(days: Sequence[Day], most: int = BINS_MAX) -> list[Bin]:
    """Return the days, several as one where there are more than ``most``; the last are whole."""
    length = math.ceil(len(days) / most)
    starts = range(len(days) % length - length if len(days) % length else 0, len(days), length)
    return [_bin(days[max(0, start) : start + length]) for start in starts]


def exports_by_day(bins: Sequence[Bin]) -> Columns:
    """Return what was asked for on each day, by what became of it."""
    most = max((each.tally.requested for each in bins), default=0)
    top, down = _axis(most)
    bars = []
    for number, each in enumerate(bins):
        x, width = _place(number, len(bins))
        bars += _stack(each, x, width, top)
    return Columns(bars, down, _days_across(bins))


def times_by_day(bins: Sequence[Bin]) -> Curves:
    """Return the median and the 95th percentile of the processing time of each day."""
    shares = (0.5, 0.95)
    figures = [[each.processing.quantile_s(share) for each in bins] for share in shares]
    known = [figure for curve in figures for figure in curve if figure is not None]
    low, high = _around(known)
    middle, upper = (_dots(bins, curve, low, high) for curve in figures)
    down = [Tick(_log_y(at, low, high), words.duration(at)) for at in _marks(low, high)]
    return Curves(middle, upper, down, _days_across(bins))


def distribution(durations: Durations) -> tuple[Columns, list[Tick]]:
    """Return how many exports took how long, and where median and 95th percentile are."""
    figures = {share: durations.quantile_s(share) for share in (0, 0.5, 0.95, 1)}
    low, high = _around([figure for figure in figures.values() if figure is not None])
    steps = round(math.log(high / low) / math.log(STEP))
    edges = [low * STEP**step for step in range(steps + 1)]
    counts = durations.between(edges)
    top, down = _axis(max(counts))
    bars = []
    for number, (count, (start, end)) in enumerate(zip(counts, pairwise(edges), strict=True)):
        if count:
            label = f"{words.duration(start)} to {words.duration(end)}: {count:,}"
            x, width = 100 * number / steps, 100 / steps * 0.92
            bars.append(_bar(x, width, 0, count, top, "succeeded", label))
    across = [Tick(_log_x(at, low, high), words.duration(at)) for at in _marks(low, high)]
    marks = [
        Tick(_log_x(figure, low, high), f"{name} {words.duration(figure)}")
        for name, figure in (("median", figures[0.5]), ("95 %", figures[0.95]))
        if figure is not None
    ]
    return Columns(bars, down, across), marks


def ribbon(curves: Curves) -> str:
    """Return the path of the area between both curves, over the days that have figures."""
    paths = []
    for run in _runs(list(zip(curves.middle, curves.high, strict=True))):
        upper = [(dot.x, dot.y) for _, dot in run]
        lower = [(dot.x, dot.y) for dot, _ in reversed(run)]
        paths.append("M" + "L".join(f"{x:.2f} {y:.1f}" for x, y in [*upper, *lower]) + "Z")
    return "".join(paths)


def line(dots: Iterable[Dot | None]) -> str:
    """Return the path of a curve, broken where days have no figure."""
    path, is_drawn = "", False
    for dot in dots:
        if dot is not None:
            path += f"{'L' if is_drawn else 'M'}{dot.x:.2f} {dot.y:.1f}"
        is_drawn = dot is not None
    return path


def _bin(days: Sequence[Day]) -> Bin:
    tally = Tally()
    for day in days:
        for name, number in vars(day.tally).items():
            setattr(tally, name, getattr(tally, name) + number)
    first, last = days[0].day, days[-1].day
    name = words.day(first) if first == last else f"{words.day(first)} – {words.day(last)}"
    return Bin(name, tally, Durations.together(day.processing for day in days))


def _stack(each: Bin, x: float, width: float, top: float) -> list[Bar]:
    tally = each.tally
    rest = tally.requested - tally.succeeded - tally.failed
    bars, below = [], 0
    for kind, count in (("succeeded", tally.succeeded), ("failed", tally.failed), ("rest", rest)):
        if count:
            name = "cancelled or under way" if kind == "rest" else kind
            label = f"{each.name}: {count:,} {name}"
            bars.append(_bar(x, width, below, count, top, kind, label))
            below += count
    return bars


def _bar(
    x: float, width: float, below: float, count: float, top: float, kind: str, label: str
) -> Bar:
    height = HEIGHT * count / top
    return Bar(x, width, HEIGHT - HEIGHT * below / top - height, height, kind, label)


def _place(number: int, count: int) -> tuple[float, float]:
    """Return where one of ``count`` bars begins and how wide it is."""
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


def _days_across(bins: Sequence[Bin]) -> list[Tick]:
    every = math.ceil(len(bins) / LABELS_MAX)
    return [
        Tick(100 * (number + 0.5) / len(bins), each.name.partition(" – ")[0])
        for number, each in enumerate(bins)
        if (len(bins) - 1 - number) % every == 0
    ]


def _dots(
    bins: Sequence[Bin], curve: Sequence[float | None], low: float, high: float
) -> list[Dot | None]:
    return [
        None
        if figure is None
        else Dot(
            100 * (number + 0.5) / len(bins),
            _log_y(figure, low, high),
            f"{each.name}: {words.duration(figure)}",
        )
        for number, (each, figure) in enumerate(zip(bins, curve, strict=True))
    ]


def _runs(pairs: Sequence[tuple[Dot | None, Dot | None]]) -> list[list[tuple[Dot, Dot]]]:
    runs: list[list[tuple[Dot, Dot]]] = [[]]
    for low, high in pairs:
        if low is None or high is None:
            runs.append([])
        else:
            runs[-1].append((low, high))
    return [run for run in runs if run]


def _around(known: Sequence[float]) -> tuple[float, float]:
    """Return the ends, whole steps, of an axis for what is known: a decade long at least."""
    if not known:
        return 0.1, 10.0
    low = math.floor(math.log(min(known), STEP))
    high = math.ceil(math.log(max(known), STEP) + 1e-9)
    missing = max(0, 6 - (high - low))
    return STEP ** (low - missing // 2), STEP ** (high + missing - missing // 2)


def _marks(low: float, high: float) -> list[float]:
    low, high = low * 0.999, high * 1.001
    coarse = [at for at in ROUND_S if low <= at <= high]
    return coarse if len(coarse) > 2 else [at for at in FINER_S if low <= at <= high]


def _log_y(seconds: float, low: float, high: float) -> float:
    return HEIGHT - HEIGHT * math.log(seconds / low) / math.log(high / low)


def _log_x(seconds: float, low: float, high: float) -> float:
    return 100 * math.log(seconds / low) / math.log(high / low)
