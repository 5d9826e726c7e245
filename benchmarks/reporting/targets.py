"""The performance targets, each printed with its verdict."""

from dataclasses import dataclass

from benchmarks.reporting.figures import Bound


@dataclass(frozen=True, kw_only=True)
class Target(Bound):
    """A bound by name; figures refer to it."""

    name: str


OVER_PSQL = Target(value=0.85, name="claim to success over psql COPY to /dev/null, 2 streams")
OVER_PSQL_ALONE = Target(value=1.10, name="the same with 1 stream")
PEAK_MEMORY = Target(value=150, name="peak memory of the worker, MB")
EQUAL_MEMORY = Target(value=1.10, name="peak memory, 10 million over 2.5 million rows")
TIMES_FASTER = Target(value=8, at_least=True, name="times faster than SQLAlchemy + csv + upload")
TIME_PER_ROW = Target(value=1.1, name="time per row, 10 million over 1 million rows")
IDLE_LATENCY = Target(value=0.1, name="500 rows, idle: POST to success, s")
SMALL_RATE = Target(value=100, at_least=True, name="small exports, POST to mail, a second")
LANES = Target(value=4, name="small exports' p95 beside 10 million rows, over idle")
LARGE_BESIDE = Target(value=1.3, name="10 million rows beside small exports, over alone")
GET_OVER_BARE = Target(value=0.6, at_least=True, name="GET /exports/{id} over the bare route")
IDLE_FLEET = Target(value=0.1, name="PostgreSQL and Redis for 100 idle workers, cores")
IDLE_STORE = Target(value=1.2, name="S3 requests of idle workers, over those of one")
BULK_LOAD = Target(value=100_000, at_least=True, name="bulk load through the triggers, rows/s")

TARGETS = (
    OVER_PSQL,
    OVER_PSQL_ALONE,
    PEAK_MEMORY,
    EQUAL_MEMORY,
    TIMES_FASTER,
    TIME_PER_ROW,
    IDLE_LATENCY,
    SMALL_RATE,
    LANES,
    LARGE_BESIDE,
    GET_OVER_BARE,
    IDLE_FLEET,
    IDLE_STORE,
    BULK_LOAD,
)
