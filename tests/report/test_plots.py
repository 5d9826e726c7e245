"""The plots say what the numbers say."""

import re
from datetime import timedelta
from itertools import pairwise

import pytest

from app.report.plots import (
    BINS_MAX,
    HEIGHT,
    band_path,
    bin_days,
    distribution,
    exports_by_day,
    last_slot,
    line_path,
    times_by_day,
)
from app.statistics.duration_sketch import DurationSketch, sketch_of
from app.statistics.queries import DailyStatistics, ExportCounts
from tests.report.statistics import LAST, no_statistics, some_statistics


@pytest.mark.parametrize("days", [1, 2, 30, BINS_MAX, BINS_MAX + 1, 365, 3650])
def test_no_export_is_lost_between_days_and_bars(days: int) -> None:
    per_day = [DailyStatistics(LAST + timedelta(days=n), ExportCounts(n + 1)) for n in range(days)]
    bins = bin_days(per_day)
    assert len(bins) <= BINS_MAX
    assert sum(each.counts.requested for each in bins) == days * (days + 1) // 2
    assert [each.is_unfinished for each in bins] == [False] * (len(bins) - 1) + [True]
    left, width = last_slot(bins)
    assert left + width == pytest.approx(100)
    today = exports_by_day(bins).bars[-1]
    assert left <= today.x <= today.x + today.width <= 100


def test_each_bar_is_as_high_as_its_count() -> None:
    statistics = some_statistics(30)
    plot = exports_by_day(bin_days(statistics.per_day))
    top = int(plot.down[-1].label)
    for day, kind in ((statistics.per_day[-9], "failed"), (statistics.per_day[-1], "succeeded")):
        so_far = ", so far" if day is statistics.per_day[-1] else ""
        name = f"{day.day:%-d %b}{so_far}: "
        (bar,) = [b for b in plot.bars if b.label.startswith(name) and b.kind == kind]
        assert bar.height == pytest.approx(HEIGHT * getattr(day.counts, kind) / top)
    assert all(0 <= bar.y <= bar.y + bar.height <= HEIGHT + 1e-6 for bar in plot.bars)


def test_bars_of_different_days_do_not_overlap() -> None:
    for days in (1, 2, 30, 365):
        bars = exports_by_day(bin_days(some_statistics(days).per_day)).bars
        places = sorted({(bar.x, bar.x + bar.width) for bar in bars})
        assert places[0][0] >= 0
        assert places[-1][1] <= 100
        assert all(end <= start for (_, end), (start, _) in pairwise(places))


@pytest.mark.parametrize("most", [0, 1, 3, 4, 5, 7, 99, 100, 101, 54_321])
def test_the_axis_of_counts_is_round_and_high_enough(most: int) -> None:
    ticks = exports_by_day(bin_days([DailyStatistics(LAST, ExportCounts(most))])).down
    values = [int(tick.label.replace(",", "")) for tick in ticks]
    assert values[-1] >= max(most, 1)
    assert 2 <= len(values) <= 6
    assert len({b - a for a, b in pairwise(values)}) == 1


@pytest.mark.parametrize("lengths", [[0.0001], [1.0], [0.02, 9000], [5e5], [0.3] * 9, [60, 600]])
def test_all_that_took_some_time_are_in_the_distribution(lengths: list[float]) -> None:
    plot, marks = distribution(sketch_of(lengths))
    assert sum(int(bar.label.rpartition(": ")[2]) for bar in plot.bars) == len(lengths)
    assert [mark.label.split()[0] for mark in marks] == ["median", "95"]
    assert all(-0.1 <= each.at <= 100.1 for each in [*marks, *plot.across])
    assert plot.across or max(lengths) > 1e5


def test_days_without_a_figure_break_the_curve() -> None:
    lengths: list[list[float]] = [[1.0], [2.0], [], [3.0], [], [4.0, 8.0]]
    per_day = [
        DailyStatistics(LAST + timedelta(days=n), ExportCounts(), sketch_of(each))
        for n, each in enumerate(lengths)
    ]
    curves = times_by_day(bin_days(per_day))
    assert re.findall("[ML]", line_path(curves.middle)) == ["M", "L", "M", "M"]
    assert band_path(curves).count("Z") == 3
    last_low, last_high = curves.middle[-1], curves.high[-1]
    assert last_low is not None
    assert last_high is not None
    assert last_high.y < last_low.y


def test_longer_is_higher_and_inside() -> None:
    curves = times_by_day(bin_days(some_statistics().per_day))
    for low, high in zip(curves.middle, curves.high, strict=True):
        assert low is not None
        assert high is not None
        assert 0 <= high.y <= low.y <= HEIGHT


def test_nothing_at_all_can_be_drawn() -> None:
    bins = bin_days(no_statistics().per_day)
    assert exports_by_day(bins).bars == []
    assert line_path(times_by_day(bins).middle) == band_path(times_by_day(bins)) == ""
    assert distribution(DurationSketch())[0].bars == []
