"""The statistics in a terminal: figures, sparklines by day, bars."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.report import formatting, plots
from app.report.changes import changes, explanation
from app.statistics.queries import FAILURE_RATE_HIGH, Statistics

COLUMNS = "▁▂▃▄▅▆▇█"
EIGHTHS = " ▏▎▍▌▋▊▉"
BAR_WIDTH = 24
COLUMNS_MAX = 60


def print_statistics(statistics: Statistics, console: Console) -> None:
    """Print the statistics, with the same contents as the HTML page."""
    days = statistics.per_day
    span = formatting.span(days[0].day, days[-1].day)
    console.print(f"[bold]Audience exports[/], {span}, UTC", highlight=False)
    console.print(_figures(statistics))
    console.print(_notes(statistics), style="dim", highlight=False)
    console.print()
    console.print(_curves(plots.bin_days(days, COLUMNS_MAX)))
    by_sources = statistics.by_sources.items()
    parts = (
        (
            "Sources",
            [(formatting.sources(keys), counts.requested) for keys, counts in by_sources],
            "blue",
        ),
        ("Failed of", list(statistics.errors.items()), "red"),
        (
            "Most active sellers",
            [(str(each.seller_id), each.counts.requested) for each in statistics.top_sellers],
            "blue",
        ),
    )
    for title, counts, colour in parts:
        if counts:
            console.print()
            console.print(_bars(title, counts, colour))


def sparkline(numbers: Sequence[float | None]) -> str:
    """Return one block character per number, scaled to the largest; a space for ``None`` or 0."""
    top = max((number for number in numbers if number), default=0)
    last = len(COLUMNS) - 1
    return "".join(COLUMNS[round(last * number / top)] if number else " " for number in numbers)


def bar(share: float) -> str:
    """Return a bar of ``share`` times :data:`BAR_WIDTH`, to an eighth of a character."""
    eighths = max(1, round(share * BAR_WIDTH * 8))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _figures(statistics: Statistics) -> Table:
    total, processing, queue = statistics.total, statistics.processing, statistics.queue
    colour = "red" if total.is_failing else "green"
    rate = f"[{colour}]{formatting.percent(total.failure_rate)}[/]"
    changed = changes(statistics)
    table = _table("", "", "change" if changed else "", "mean", "median", "95 %")
    for name, figure, key, durations in (
        ("Requested", f"{total.requested:,}", "requested", None),
        ("Succeeded", f"{total.succeeded:,}", "", None),
        ("Failed", f"{total.failed:,}", "", None),
        ("Cancelled", f"{total.cancelled:,}", "", None),
        ("Failure rate", rate, "failure_rate", None),
        ("Rows", f"{total.rows:,}", "rows", None),
        ("Bytes", formatting.size(total.bytes), "bytes", None),
        ("Processing time", "", "median", processing),
        ("Queue time", "", "", queue),
    ):
        times = (
            ()
            if durations is None
            else (
                formatting.duration(durations.mean_s),
                formatting.duration(durations.quantile_s(0.5)),
                formatting.duration(durations.quantile_s(0.95)),
            )
        )
        table.add_row(name, figure, changed.get(key, ""), *times)
    return table


def _notes(statistics: Statistics) -> str:
    compared = explanation(statistics)
    notes = [compared, "The change of a time is its median's."] if compared else []
    threshold = formatting.percent(FAILURE_RATE_HIGH)
    return " ".join([*notes, f"A failure rate above {threshold} is red."])


def _curves(bins: Sequence[plots.DayBin]) -> Table:
    medians = [each.processing.quantile_s(0.5) for each in bins]
    requested = [each.counts.requested for each in bins]
    failed = [each.counts.failed for each in bins]
    longest = max((each for each in medians if each is not None), default=None)
    table = Table.grid(padding=(0, 2))
    table.add_row("Requested", Text(sparkline(requested), "blue"), f"to {max(requested):,}")
    table.add_row("Failed", Text(sparkline(failed), "red"), f"to {max(failed):,}")
    table.add_row("Median", Text(sparkline(medians), "blue"), f"to {formatting.duration(longest)}")
    table.add_row("", f"{bins[0].name} … {bins[-1].title}", "", style="dim")
    return table


def _bars(title: str, counts: Sequence[tuple[str, int]], colour: str) -> Table:
    table = _table(title, "")
    table.add_column()
    most = max(count for _, count in counts)
    for name, count in counts:
        table.add_row(name, f"{count:,}", Text(bar(count / most), colour))
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(names):
        table.add_column(name, justify="right" if number else "left")
    return table
