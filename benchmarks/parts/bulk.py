"""Bulk load of purchases: what the projection costs the storefront."""

from pathlib import Path

from benchmarks.figures import Bound, Figure, ratios
from benchmarks.jobs import run_psql
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import BULK_LOAD
from benchmarks.stage import EMPTY, Stage

ROWS_PER_S_MIN = Bound(80_000, at_least=True)
DATABASE = "bulk_load"
COLUMNS = "seller_id, email, created_at, state, can_contact, refunded"

PURCHASES = r"""
    SELECT
        person % 50,
        'buyer.' || person || '@' || (ARRAY['gmail.com', 'outlook.com', 'web.de'])[1 + person % 3],
        timestamptz '2025-06-30 UTC' - number * 7919 % 220000000 * interval '1 second',
        'successful',
        true,
        CASE WHEN number % 25 = 0 THEN true END
    FROM (
        SELECT number, hashint8(number)::bigint & 1048575 AS person
        FROM generate_series(1::bigint, {rows}) AS number
    ) AS bought
"""
"""Some 600,000 people buy a million times at 50 sellers, in no order."""


def run(stage: Stage, options: Options) -> Outcome:
    """Load the same file with and without triggers, in turn, each into an empty database."""
    file = stage.sandbox.path / "purchases.csv"
    write_purchases(stage, file, options.purchases)
    projected, plain = [], []
    for _ in range(options.runs):
        projected.append(options.purchases / load_s(stage, file, ""))
        plain.append(
            options.purchases / load_s(stage, file, "ALTER TABLE purchases DISABLE TRIGGER ALL;")
        )
    name = f"bulk load of {options.purchases:,} purchases"
    return Outcome(
        (
            Figure(name, tuple(projected), "rows/s", ROWS_PER_S_MIN, BULK_LOAD),
            Figure(f"{name}, without triggers", tuple(plain), "rows/s"),
            Figure("bulk load, with over without triggers", ratios(projected, plain)),
        )
    )


def write_purchases(stage: Stage, file: Path, rows: int) -> None:
    """Write the file that is loaded, once."""
    query = " ".join(PURCHASES.format(rows=rows).split())
    copy = rf"\copy ({query}) TO '{file}' (FORMAT csv)"
    run_psql(stage.psql, stage.postgres.url(EMPTY), [copy])


def load_s(stage: Stage, file: Path, before: str) -> float:
    """Load the file into a database of its own and return the seconds that the COPY took."""
    url = stage.postgres.create_database(DATABASE, template=EMPTY)
    try:
        load = rf"\copy purchases ({COLUMNS}) FROM '{file}' (FORMAT csv)"
        return run_psql(stage.psql, url, [before, load]).seconds
    finally:
        stage.postgres.drop_database(DATABASE)
