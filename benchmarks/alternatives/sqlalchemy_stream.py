"""SQLAlchemy with a server-side cursor and the csv module, then an upload."""

import csv
from typing import Any

from sqlalchemy import text

from benchmarks.alternatives.upload import open_engine, uploaded
from benchmarks.processes.in_process import Spec, main

ROWS_AT_ONCE = 10_000


def export(spec: Spec) -> dict[str, Any]:
    """Write the query's rows with a csv.writer and upload the file."""
    engine = open_engine(spec["sqlalchemy_url"])
    with uploaded(spec) as path:
        with path.open("w", newline="") as file, engine.connect() as connection:
            file.write(spec["header"])
            writer = csv.writer(file, lineterminator="\n")
            streaming = connection.execution_options(stream_results=True, yield_per=ROWS_AT_ONCE)
            writer.writerows(streaming.execute(text(spec["sql"].replace(":", r"\:"))))
        return {"bytes": path.stat().st_size}


if __name__ == "__main__":
    main(export)
