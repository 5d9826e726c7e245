"""The statistics in a terminal."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from app.report.terminal import BAR_WIDTH, bar, print_statistics, sparkline
from app.statistics.queries import ExportCounts, Statistics
from tests.report.statistics import no_statistics, some_statistics


def printed(statistics: Statistics, width: int = 80) -> str:
    file = io.StringIO()
    print_statistics(statistics, Console(file=file, width=width))
    return file.getvalue()


def test_everything_of_the_page_is_printed() -> None:
    statistics = some_statistics()
    text = " ".join(printed(statistics).split())
    for part in (
        "24 October – 22 November 2026",
        f"{statistics.total.requested:,}",
        "Followers + Customers",
        "storage_unavailable",
        "Most active sellers",
        "+14 %",
        "+0.28 pp",
        "the 29 full days before today",
        "above 5 %",
        "22 Nov, so far",
    ):
        assert part in text


@pytest.mark.parametrize("days", [1, 30, 365, 800])
def test_no_line_is_wider_than_the_terminal_and_none_is_broken(days: int) -> None:
    text = printed(some_statistics(days))
    assert all(len(each) <= 80 for each in text.splitlines())
    assert sum(each.startswith("Median") for each in text.splitlines()) == 1
    assert "…\n" not in text


@pytest.mark.parametrize(("failed", "colour"), [(50, "32"), (51, "31")])
def test_the_failure_rate_is_red_only_above_the_threshold(failed: int, colour: str) -> None:
    file = io.StringIO()
    total = ExportCounts(1000, 1000 - failed, failed)
    console = Console(file=file, width=80, force_terminal=True, color_system="standard")
    print_statistics(replace(some_statistics(), total=total), console)
    (line,) = [each for each in file.getvalue().splitlines() if "Failure rate" in each]
    assert f"\x1b[{colour}m" in line


def test_days_of_nothing_are_printed_too() -> None:
    text = printed(no_statistics())
    assert "0 %" in text
    assert "Failed of" not in text


def test_a_sparkline_has_a_column_for_each_number() -> None:
    assert sparkline([0, 1, 4, 8]) == " ▂▅█"
    assert sparkline([None, 0]) == "  "
    assert sparkline([3]) == "█"


def test_a_bar_is_as_long_as_its_share() -> None:
    assert bar(1) == "█" * BAR_WIDTH
    assert bar(0.5) == "█" * (BAR_WIDTH // 2)
    assert bar(1 / (BAR_WIDTH * 8)) == "▏"
    assert bar(0) == "▏"
