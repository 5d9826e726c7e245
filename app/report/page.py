"""The page of plots: one file without scripts, fonts or anything from elsewhere."""

from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.exports.statistics import Statistics
from app.report import plots, words

STYLE = (files("app.report") / "templates" / "stats.css").read_text()

STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""What the page needs of a browser: its own style, and nothing else."""

SPANS = (7, 30, 90, 365)

_templates = Environment(
    loader=PackageLoader("app.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= {
    "duration": words.duration,
    "digits": words.digits,
    "percent": words.percent,
    "size": words.size,
    "short": words.short,
    "sources": words.sources,
    "number": "{:,}".format,
    "line": plots.line,
    "ribbon": plots.ribbon,
}


def statistics_page(statistics: Statistics, made_at: datetime, *, is_served: bool) -> str:
    """Return the page as HTML; one that is served leads to other spans of days."""
    bins = plots.binned(statistics.per_day)
    columns, marks = plots.distribution(statistics.processing)
    days = statistics.per_day
    return _templates.get_template("stats.html").render(
        style=STYLE,
        height=plots.HEIGHT,
        spans=SPANS if is_served else (),
        days=len(days),
        span=words.span(days[0].day, days[-1].day),
        made_at=f"{made_at:%-d %B %Y, %H:%M} UTC",
        total=statistics.total,
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
