"""What the service is worked towards, each printed with its verdict."""

from dataclasses import dataclass

from benchmarks.figures import Bound


@dataclass(frozen=True, kw_only=True)
class Promise(Bound):
    """A bound by name; figures that have it as their goal answer it."""

    name: str


OVER_PSQL = Promise(value=0.85, name="claim to success over psql COPY to /dev/null, 2 streams")
OVER_PSQL_ALONE = Promise(value=1.10, name="the same with 1 stream")
PEAK_MEMORY = Promise(value=150, name="peak memory of the worker, MB")
EQUAL_MEMORY = Promise(value=1.10, name="peak memory, 10 million over 2.5 million rows")
TIMES_FASTER = Promise(value=8, at_least=True, name="times faster than SQLAlchemy + csv + upload")
TIME_PER_ROW = Promise(value=1.1, name="time per row, 10 million over 1 million rows")
IDLE_LATENCY = Promise(value=0.1, name="500 rows, idle: POST to success, s")
SMALL_RATE = Promise(value=100, at_least=True, name="small exports, POST to mail, a second")
LANES = Promise(value=4, name="small exports' p95 beside 10 million rows, over idle")
GET_OVER_BARE = Promise(value=0.6, at_least=True, name="GET /exports/{id} over the bare route")
BULK_LOAD = Promise(value=100_000, at_least=True, name="bulk load through the triggers, rows/s")

PROMISES = (
    OVER_PSQL,
    OVER_PSQL_ALONE,
    PEAK_MEMORY,
    EQUAL_MEMORY,
    TIMES_FASTER,
    TIME_PER_ROW,
    IDLE_LATENCY,
    SMALL_RATE,
    LANES,
    GET_OVER_BARE,
    BULK_LOAD,
)
