"""The contenders of a comparison, and how to run each."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import (
    PEERS_PYTHON,
    BenchmarkFailed,
    Measurement,
    run_peer,
    run_psql,
)
from benchmarks.reporting.figures import Comparison, ContenderFigures

Contender = Callable[[Environment, int], Measurement]
"""Exports a list of this many rows once."""

NO_CHANGES: Mapping[str, str] = MappingProxyType({})

PSQL = "psql COPY to /dev/null"
SERVICE = "this service"
WORKBOOK = "this service, as a workbook"
ONE_STREAM = "this service, 1 stream"
STREAM = "SQLAlchemy stream + csv + upload"


def copy_with_psql(environment: Environment, rows: int) -> Measurement:
    """Copy the same query to /dev/null, on one connection."""
    spec = environment.alternative_spec(environment.seller(rows))
    sql = " ".join(spec["sql"].split())
    copy = rf"COPY ({sql}) TO STDOUT (FORMAT csv) \g /dev/null"
    return run_psql(environment.psql, environment.database_url, [copy])


def export_with_service(
    environment: Environment,
    rows: int,
    *,
    options: Mapping[str, str] = NO_CHANGES,
    settings: Mapping[str, str] = NO_CHANGES,
) -> Measurement:
    """Export by POST with a fresh worker; measure from claim to success."""
    return environment.measure_export(rows, options, **settings)


def export_with_peer(environment: Environment, rows: int, *, name: str) -> Measurement:
    """Write and upload the same file with an alternative."""
    first = environment.alternative_spec(environment.small_sellers(1)[0])
    return run_peer(
        name, {**environment.alternative_spec(environment.seller(rows)), "warm_up": first}
    )


QUICK: Mapping[str, Contender] = {
    PSQL: copy_with_psql,
    SERVICE: export_with_service,
    ONE_STREAM: partial(export_with_service, settings={"EXPORT_STREAMS": "1"}),
}

PEERS: Mapping[str, Contender] = {
    "polars + ADBC + upload": partial(export_with_peer, name="polars_adbc"),
    "polars + ConnectorX + upload": partial(export_with_peer, name="polars_connectorx"),
    "DuckDB's postgres extension + upload": partial(export_with_peer, name="duckdb_postgres"),
    "psycopg COPY to a file + upload": partial(export_with_peer, name="psycopg_copy"),
    STREAM: partial(export_with_peer, name="sqlalchemy_stream"),
    "pandas chunks + upload": partial(export_with_peer, name="pandas_chunks"),
    "ORM objects in batches by key + upload": partial(export_with_peer, name="orm_batches"),
}


def all_contenders() -> Mapping[str, Contender]:
    """Return all contenders, without the alternatives where their environment is missing."""
    return {**QUICK, **PEERS} if PEERS_PYTHON.exists() else QUICK


WORKBOOKS: Mapping[str, Contender] = {
    WORKBOOK: partial(export_with_service, options={"format": "xlsx"})
}
"""Other files than all other contenders'."""


def compare(
    name: str,
    environment: Environment,
    options: Options,
    rows: int,
    contenders: Mapping[str, Contender],
) -> Comparison:
    """Run the contenders in turn, after one unmeasured round.

    Raises:
        BenchmarkFailed: two contenders wrote CSV files of different sizes.
    """
    runs: dict[str, list[Measurement]] = {contender: [] for contender in contenders}
    for each in contenders.values():
        each(environment, min(rows, WARM_UP_ROWS))
    for _ in range(options.runs):
        for contender, export in contenders.items():
            runs[contender].append(export(environment, rows))
    entries = tuple(ContenderFigures(contender, tuple(taken)) for contender, taken in runs.items())
    csv_runs = (run for entry in entries if entry.name not in WORKBOOKS for run in entry.runs)
    sizes = {run.bytes for run in csv_runs if run.bytes}
    if len(sizes) > 1:
        raise BenchmarkFailed(f"the contenders' files differ in size: {sorted(sizes)}")
    return Comparison(name, rows, entries, against=PSQL)


WARM_UP_ROWS = 10_000
"""Enough to fill the page cache and compile bytecode."""
