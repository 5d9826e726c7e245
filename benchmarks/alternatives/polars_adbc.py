"""polars over ADBC, Arrow from end to end, then an upload: the fastest common approach."""

from benchmarks.alternatives.polars_frame import run

if __name__ == "__main__":
    run("adbc")
