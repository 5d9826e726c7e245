"""polars over ConnectorX, which reads into Arrow by its own Rust client, then an upload."""

from benchmarks.alternatives.polars_frame import run

if __name__ == "__main__":
    run("connectorx")
