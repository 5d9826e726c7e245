"""pandas in chunks of rows, so that they fit in memory, then an upload."""

from typing import Any

import pandas
from sqlalchemy import text

from benchmarks.alternatives.upload import open_engine, uploaded
from benchmarks.processes.in_process import Spec, main

ROWS_AT_ONCE = 50_000


def export(spec: Spec) -> dict[str, Any]:
    """Append each chunk to a CSV file and upload it."""
    engine = open_engine(spec["sqlalchemy_url"])
    query = text(spec["sql"].replace(":", r"\:"))
    with uploaded(spec) as path:
        with path.open("w", newline="") as file, engine.connect() as connection:
            file.write(spec["header"])
            streaming = connection.execution_options(stream_results=True)
            for chunk in pandas.read_sql_query(query, streaming, chunksize=ROWS_AT_ONCE):
                chunk.to_csv(file, header=False, index=False, lineterminator="\n")
        return {"bytes": path.stat().st_size}


if __name__ == "__main__":
    main(export)
