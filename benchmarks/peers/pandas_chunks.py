"""pandas, a chunk of rows at a time so that memory lasts, then an upload."""

from typing import Any

import pandas
from sqlalchemy import text

from benchmarks.measured import Spec, main
from benchmarks.peers.upload import open_engine, uploaded

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
