"""The HTML page of plots: one file without scripts, fonts or other external resources."""

from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.report import formatting, plots
from app.report.changes import changes, explanation
from app.statistics.queries import FAILURE_RATE_HIGH, DailyStatistics, Statistics

STYLE = (files("app.report") / "templates" / "stats.css").read_text()

# Of exactly what is between the style tags: the template must add no white space there.
STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: it allows only the page's own style sheet."""

SPANS = (7, 30, 90, 365)

_templates = Environment(
    loader=PackageLoader("app.report"),
    # Off by default, and error codes and sources come from rows.
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "duration": formatting.duration,
    "digits": formatting.two_digits,
    "percent": formatting.percent,
    "size": formatting.size,
    "figure": formatting.figure,
    "short": formatting.abbreviate,
    "sources": formatting.sources,
    "number": "{:,}".format,
    "line": plots.line_path,
    "ribbon": plots.band_path,
}


def statistics_page(statistics: Statistics, made_at: datetime, *, is_served: bool) -> str:
    """Return the page as HTML; ``is_served`` adds links to other numbers of days."""
    bins = plots.bin_days(statistics.per_day)
    columns, marks = plots.distribution(statistics.processing)
    days = statistics.per_day
    return _templates.get_template("stats.html").render(
        style=STYLE,
        height=plots.HEIGHT,
        spans=SPANS if is_served else (),
        days=len(days),
        span=formatting.span(days[0].day, days[-1].day),
        made_at=f"{made_at:%-d %B %Y, %H:%M} UTC",
        total=statistics.total,
        daily=_daily(days),
        changes=changes(statistics),
        explanation=explanation(statistics),
        threshold=FAILURE_RATE_HIGH,
        today=plots.last_slot(bins),
        processing=statistics.processing,
        queue=statistics.queue,
        bins=bins,
        exports=plots.exports_by_day(bins),
        times=plots.times_by_day(bins),
        lengths=columns,
        marks=marks,
        by_sources=list(statistics.by_sources.items()),
        errors=list(statistics.errors.items()),
        sellers=statistics.top_sellers,
    )


def _daily(days: Sequence[DailyStatistics]) -> float:
    """Return the requests of an average day: of the full ones, or of today alone."""
    full = days[:-1] or days
    return sum(day.counts.requested for day in full) / len(full)
