"""How many rows all imports have written and refused so far, for Prometheus.

An import is no server that could be asked: what it did is added up in a table.
"""

from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import Connection
from app.feeds.imports import Imported
from app.metrics import Facts
from app.statements import Statement

ADD = """
    INSERT INTO import_totals AS known (outcome, rows)
    SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (outcome) DO UPDATE SET rows = known.rows + excluded.rows
"""

READ = Statement("SELECT outcome, rows FROM import_totals")


async def add_to_totals(connection: Connection, imported: Imported) -> None:
    """Add what an import has done."""
    rows = {
        "added": imported.written.added,
        "changed": imported.written.changed,
        "rejected": imported.rejected,
    }
    await connection.execute(ADD, list(rows.keys()), list(rows.values()))


async def read_import_facts(engine: AsyncEngine) -> Facts:
    """Return how many rows were imported, by outcome.

    Raises:
        DatabaseUnavailable: try again.
    """
    totals = {row["outcome"]: row["rows"] for row in await READ.rows(engine)}
    return {"imported_rows_total": totals}
