"""What the changes compare, and what they say."""

from dataclasses import replace
from datetime import timedelta

from app.report.changes import changes, explanation
from app.statistics.duration_sketch import sketch_of
from app.statistics.queries import DailyStatistics, ExportCounts, Statistics
from tests.report.statistics import LAST, no_statistics, some_statistics


def span_of(*requested: int, before: tuple[int, ...] = ()) -> Statistics:
    """Return statistics of days with these numbers of requests, the last of which is today's."""

    def day(ago: int, count: int) -> DailyStatistics:
        counts = ExportCounts(count, count // 2, count // 4, rows=10 * count, bytes=100 * count)
        seconds = sketch_of([float(count)] * count)
        return DailyStatistics(LAST - timedelta(days=ago), counts, seconds, seconds)

    every = [day(ago, count) for ago, count in enumerate(reversed([*before, *requested]))][::-1]
    return replace(
        no_statistics(len(requested)), per_day=every[len(before) :], before=every[: len(before)]
    )


def test_today_is_left_out_since_it_is_not_over() -> None:
    shown = changes(span_of(20, 40, 8, before=(24, 16)))
    assert {name: shown[name] for name in ("requested", "rows", "bytes")} == dict.fromkeys(
        ("requested", "rows", "bytes"), "+50 %"
    )
    assert changes(span_of(20, 40, 800, before=(24, 16))) == shown


def test_times_and_rates_are_compared_as_well() -> None:
    faster = span_of(8, 4, before=(16,))
    assert changes(faster)["median"] == changes(faster)["p95"] == "−50 %"
    assert changes(faster)["failure_rate"] == "±0 pp"
    failing = replace(faster.per_day[0], counts=ExportCounts(8, 2, 6))
    assert changes(replace(faster, per_day=[failing, faster.per_day[1]]))["failure_rate"] == (
        "+42 pp"
    )


def test_nothing_is_compared_with_nothing() -> None:
    assert changes(span_of(5, 5, before=(0,)))["requested"] == "–"
    assert changes(span_of(5, 5, before=(0,)))["median"] == "–"
    assert changes(span_of(0, 5, before=(4,)))["requested"] == "−100 %"
    assert changes(span_of(5)) == {}


def test_what_is_compared_is_said() -> None:
    assert explanation(some_statistics(30)) == (
        "Changes compare the 29 full days before today with the 29 before those."
    )
    assert explanation(some_statistics(2)) == "Changes compare yesterday with the day before."
    assert explanation(some_statistics(1)) == ""
