"""DuckDB and its postgres extension: one COPY from PostgreSQL to a CSV file, then an upload."""

import functools
from pathlib import Path
from typing import Any

import duckdb
import duckdb_extension_postgres_scanner

from benchmarks.alternatives.upload import uploaded
from benchmarks.processes.in_process import Spec, main

COPY = """
    COPY (SELECT * FROM postgres_query('source', {sql}) AS list ({columns}))
    TO {path} (FORMAT csv, HEADER true, TIMESTAMPFORMAT '%Y-%m-%d %H:%M:%S')
"""


def export(spec: Spec) -> dict[str, Any]:
    """Copy the query's rows into a file and upload it."""
    columns = ", ".join(f'"{name}"' for name in spec["header"].strip().split(","))
    with uploaded(spec) as path:
        copy = COPY.format(sql=literal(spec["sql"]), columns=columns, path=literal(str(path)))
        open_duckdb(spec["dsn"]).execute(copy)
        return {"bytes": path.stat().st_size}


@functools.cache
def open_duckdb(dsn: str) -> duckdb.DuckDBPyConnection:
    """Return the process's one connection, to which PostgreSQL is attached.

    The extension comes with its wheel: DuckDB itself would download it at run time.
    """
    folder = Path(duckdb_extension_postgres_scanner.__file__).parent / "extensions"
    [extension] = folder.glob(f"v{duckdb.__version__}/*.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD {literal(str(extension))}")
    connection.execute(f"ATTACH {literal(dsn)} AS source (TYPE postgres, READ_ONLY)")
    return connection


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    main(export)
