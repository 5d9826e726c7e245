"""Who takes part in a contest, and how each is made to run."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from benchmarks.figures import Contest, Entry
from benchmarks.jobs import PEERS_PYTHON, BenchmarkFailed, Run, run_peer, run_psql
from benchmarks.options import Options
from benchmarks.stage import Stage

Contender = Callable[[Stage, int], Run]
"""Exports the list of so many rows once."""

PSQL = "psql COPY to /dev/null"
SERVICE = "this service"
ONE_STREAM = "this service, 1 stream"
STREAM = "SQLAlchemy stream + csv + upload"


def copy_with_psql(stage: Stage, rows: int) -> Run:
    """Copy the same query to nowhere, on one connection."""
    spec = stage.peer_spec(stage.seller(rows))
    sql = " ".join(spec["sql"].split())
    copy = rf"COPY ({sql}) TO STDOUT (FORMAT csv) \g /dev/null"
    return run_psql(stage.psql, stage.database_url, [copy])


def export_with_service(
    stage: Stage, rows: int, *, settings: Mapping[str, str] = MappingProxyType({})
) -> Run:
    """Export by POST, a fresh worker's claim to its success."""
    return stage.measure_export(rows, **settings)


def export_with_peer(stage: Stage, rows: int, *, name: str) -> Run:
    """Write and upload the same file some other way."""
    first = stage.peer_spec(stage.small_sellers(1)[0])
    return run_peer(name, {**stage.peer_spec(stage.seller(rows)), "warm_up": first})


QUICK: Mapping[str, Contender] = {
    PSQL: copy_with_psql,
    SERVICE: export_with_service,
    ONE_STREAM: partial(export_with_service, settings={"EXPORT_STREAMS": "1"}),
}

PEERS: Mapping[str, Contender] = {
    "polars + ADBC + upload": partial(export_with_peer, name="polars_adbc"),
    "psycopg COPY to a file + upload": partial(export_with_peer, name="psycopg_copy"),
    STREAM: partial(export_with_peer, name="sqlalchemy_stream"),
    "pandas chunks + upload": partial(export_with_peer, name="pandas_chunks"),
    "ORM objects in batches by key + upload": partial(export_with_peer, name="orm_batches"),
}


def all_contenders() -> Mapping[str, Contender]:
    """Return everyone, or without the peers where their environment is missing."""
    return {**QUICK, **PEERS} if PEERS_PYTHON.exists() else QUICK


def contest(
    name: str, stage: Stage, options: Options, rows: int, contenders: Mapping[str, Contender]
) -> Contest:
    """Let the contenders take turns, after one round that does not count.

    Raises:
        BenchmarkFailed: two of them made files of different sizes.
    """
    runs: dict[str, list[Run]] = {contender: [] for contender in contenders}
    for each in contenders.values():
        each(stage, min(rows, WARM_UP_ROWS))
    for _ in range(options.runs):
        for contender, export in contenders.items():
            runs[contender].append(export(stage, rows))
    entries = tuple(Entry(contender, tuple(taken)) for contender, taken in runs.items())
    sizes = {run.bytes for entry in entries for run in entry.runs if run.bytes}
    if len(sizes) > 1:
        raise BenchmarkFailed(f"the contenders' files differ in size: {sorted(sizes)}")
    return Contest(name, rows, entries, against=PSQL)


WARM_UP_ROWS = 10_000
"""Enough for files to be in the page cache and bytecode to be compiled."""
