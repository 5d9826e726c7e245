"""polars: a frame in memory, written as CSV, then an upload."""

from functools import partial
from typing import Any, Literal

import polars

from benchmarks.alternatives.upload import uploaded
from benchmarks.processes.in_process import Spec, main


def export(spec: Spec, engine: Literal["adbc", "connectorx"]) -> dict[str, Any]:
    """Read the query's rows into a frame, write it as CSV and upload the file."""
    with uploaded(spec) as path:
        frame = polars.read_database_uri(spec["sql"], spec["dsn"], engine=engine)
        with path.open("wb") as file:
            file.write(spec["header"].encode())
            frame.write_csv(file, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S")
        return {"bytes": path.stat().st_size}


def run(engine: Literal["adbc", "connectorx"]) -> None:
    """Run as a contender that reads by ``engine``."""
    main(partial(export, engine=engine))
