"""Bulk load of purchases: what the projection costs the storefront."""

from pathlib import Path

from benchmarks.harness.environment import EMPTY, Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import run_psql
from benchmarks.reporting.figures import Bound, Figure, ratios
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import BULK_LOAD

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
"""About 600,000 people buy a million times from 50 sellers, in random order."""


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Load the same file with and without triggers alternately, each into an empty database."""
    file = environment.sandbox.path / "purchases.csv"
    write_purchases(environment, file, options.purchases)
    projected, plain = [], []
    for _ in range(options.runs):
        projected.append(options.purchases / load_s(environment, file, ""))
        plain.append(
            options.purchases
            / load_s(environment, file, "ALTER TABLE purchases DISABLE TRIGGER ALL;")
        )
    name = f"bulk load of {options.purchases:,} purchases"
    return ScenarioResult(
        (
            Figure(name, tuple(projected), "rows/s", ROWS_PER_S_MIN, BULK_LOAD),
            Figure(f"{name}, without triggers", tuple(plain), "rows/s"),
            Figure("bulk load, with over without triggers", ratios(projected, plain)),
        )
    )


def write_purchases(environment: Environment, file: Path, rows: int) -> None:
    """Write the file to load."""
    query = " ".join(PURCHASES.format(rows=rows).split())
    copy = rf"\copy ({query}) TO '{file}' (FORMAT csv)"
    run_psql(environment.psql, environment.postgres.url(EMPTY), [copy])


def load_s(environment: Environment, file: Path, before: str) -> float:
    """Load the file into a new database and return the seconds of the COPY."""
    url = environment.postgres.create_database(DATABASE, template=EMPTY)
    try:
        load = rf"\copy purchases ({COLUMNS}) FROM '{file}' (FORMAT csv)"
        return run_psql(environment.psql, url, [before, load]).seconds
    finally:
        environment.postgres.drop_database(DATABASE)
