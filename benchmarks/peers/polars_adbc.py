"""polars over ADBC, Arrow all the way, then an upload: the fastest of the usual ways."""

from typing import Any

import polars

from benchmarks.measured import Spec, main
from benchmarks.peers.upload import uploaded


def export(spec: Spec) -> dict[str, Any]:
    """Read the query's rows into a frame, write it as CSV and upload the file."""
    with uploaded(spec) as path:
        frame = polars.read_database_uri(spec["sql"], spec["dsn"], engine="adbc")
        with path.open("wb") as file:
            file.write(spec["header"].encode())
            frame.write_csv(file, include_header=False, datetime_format="%Y-%m-%d %H:%M:%S")
        return {"bytes": path.stat().st_size}


if __name__ == "__main__":
    main(export)
