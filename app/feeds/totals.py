"""The totals of all imports so far, for Prometheus.

An import is a command and is gone before Prometheus could scrape it, so its results are added up
in a table.
"""

from app.database.database import Queryable
from app.feeds.imports import ImportProgress
from app.observability.metrics import MetricValues

ADD = """
    INSERT INTO import_totals AS total (outcome, rows)
    SELECT * FROM unnest(CAST(:outcomes AS text[]), CAST(:rows AS bigint[]))
    ON CONFLICT (outcome) DO UPDATE SET rows = total.rows + excluded.rows
"""

SELECT_TOTALS = "SELECT outcome, rows FROM import_totals"


async def add_to_totals(database: Queryable, imported: ImportProgress) -> None:
    """Add the results of one import to the totals.

    Raises:
        DatabaseUnavailable: whether they were added is unknown.
    """
    # Always in this order: concurrent imports lock the rows alike.
    rows = {
        "added": imported.written.added,
        "changed": imported.written.changed,
        "rejected": imported.rejected,
    }
    await database.execute(ADD, outcomes=list(rows.keys()), rows=list(rows.values()))


async def read_import_counters(database: Queryable) -> MetricValues:
    """Return how many rows all imports added, changed and rejected.

    Raises:
        DatabaseUnavailable: try again.
    """
    totals = {row["outcome"]: row["rows"] for row in await database.fetch(SELECT_TOTALS)}
    return {"imported_rows_total": totals}
