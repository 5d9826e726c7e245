"""The change of each figure: the full days of a span against as many days before them."""

from collections.abc import Callable, Mapping

from app.report import formatting
from app.report.plots import DayBin, combined
from app.statistics.queries import Statistics

FIGURES: Mapping[str, Callable[[DayBin], float | None]] = {
    "requested": lambda span: span.counts.requested,
    "median": lambda span: span.processing.quantile_s(0.5),
    "p95": lambda span: span.processing.quantile_s(0.95),
    "rows": lambda span: span.counts.rows,
    "bytes": lambda span: span.counts.bytes,
}


def changes(statistics: Statistics) -> dict[str, str]:
    """Return the changes by the figure's name, as text; none where nothing is compared.

    Today is left out, since it is not over.
    """
    if not statistics.before:
        return {}
    now, before = combined(statistics.per_day[:-1]), combined(statistics.before)
    rates = now.counts.failure_rate, before.counts.failure_rate
    relative = {name: formatting.change(of(now), of(before)) for name, of in FIGURES.items()}
    return relative | {"failure_rate": formatting.points(*rates)}


def explanation(statistics: Statistics) -> str:
    """Return the sentence that says what the changes compare; empty where there are none."""
    match len(statistics.before):
        case 0:
            return ""
        case 1:
            return "Changes compare yesterday with the day before."
        case days:
            return (
                f"Changes compare the {days} full days before today with the {days} before those."
            )
