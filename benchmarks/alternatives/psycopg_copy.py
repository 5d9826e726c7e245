"""psycopg's COPY to a file, then an upload: the shortest code for those who know PostgreSQL."""

from typing import Any

import psycopg

from benchmarks.alternatives.upload import uploaded
from benchmarks.processes.in_process import Spec, main


def export(spec: Spec) -> dict[str, Any]:
    """Copy the query's rows into a file and upload it."""
    with uploaded(spec) as path:
        with psycopg.connect(spec["dsn"]) as connection, path.open("wb") as file:
            file.write(spec["header"].encode())
            copied = connection.cursor().copy(f"COPY ({spec['sql']}) TO STDOUT (FORMAT csv)")
            with copied as rows:
                for data in rows:
                    file.write(data)
        return {"bytes": path.stat().st_size}


if __name__ == "__main__":
    main(export)
