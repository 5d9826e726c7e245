"""The three feeds: file import, events over HTTP, logical replication."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness.environment import EMPTY, Environment
from benchmarks.harness.options import Options
from benchmarks.harness.replication_source import ReplicationSource
from benchmarks.processes.subprocesses import BenchmarkFailed, run_module, run_psql
from benchmarks.reporting.figures import Bound, Figure
from benchmarks.reporting.result import ScenarioResult
from benchmarks.scenarios.bulk import PURCHASES

ROUNDS_MAX = 3
DATABASE = "imported"
NAMES = ("seller_id", "email", "created_at", "state", "can_contact", "refunded")
IMPORT_PER_S_MIN = Bound(100_000, at_least=True)

LINES = 10_000
"""The most that one request may hold."""

BATCHES = 3
EVENTS_SELLER = 900_000_000
"""Used here only, since the events remain in the database that other scenarios measure."""

CHANGES = 20
BURST_ROWS = 5_000


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Feed the same kind of rows by each of the three."""
    rounds = min(options.runs, ROUNDS_MAX)
    return ScenarioResult(
        (
            *imports(environment, options.feed_rows, rounds),
            events(environment, rounds),
            *replication(environment, options.feed_rows),
        )
    )


def imports(environment: Environment, rows: int, rounds: int) -> tuple[Figure, ...]:
    """Import the same purchases without and with keys alternately, into empty databases."""
    plain, keyed, warm = (
        environment.sandbox.path / f"{name}.csv" for name in ("plain", "keyed", "warm")
    )
    write_lines(environment, plain, rows, "")
    write_lines(environment, keyed, rows, "number AS key, ")
    write_lines(environment, warm, 100, "")
    rates: dict[Path, list[float]] = {plain: [], keyed: []}
    for _ in range(rounds):
        for file, taken in rates.items():
            taken.append(rows / import_s(environment, file, warm, rows))
    name = f"import of {rows:,} purchases"
    return (
        Figure(f"{name}, without keys", tuple(rates[plain]), "rows/s", IMPORT_PER_S_MIN),
        Figure(f"{name}, with keys", tuple(rates[keyed]), "rows/s"),
    )


def write_lines(environment: Environment, file: Path, rows: int, key: str) -> None:
    """Write the file to import."""
    bought = PURCHASES.format(rows=rows).replace("SELECT", f"SELECT {key} 1 +", 1)
    names = ", ".join((*(["key"] if key else []), *NAMES))
    query = " ".join(f"SELECT * FROM ({bought}) AS line ({names})".split())
    copy = rf"\copy ({query}) TO '{file}' (FORMAT csv, HEADER)"
    run_psql(environment.psql, environment.postgres.url(EMPTY), [copy])


def import_s(environment: Environment, file: Path, warm: Path, rows: int) -> float:
    """Import a file into a new database and return the seconds.

    Raises:
        BenchmarkFailed: some lines were not written.
    """
    url = environment.postgres.create_database(DATABASE, template=EMPTY)
    settings = {name.lower(): value for name, value in environment.settings.items() if value}
    spec = {"settings": settings | {"database_url": url}, "source": "customer", "file": str(file)}
    try:
        done = run_module(
            "benchmarks.processes.importer", {**spec, "warm_up": spec | {"file": str(warm)}}
        )
    finally:
        environment.postgres.drop_database(DATABASE)
    if done["rows"] != rows:
        raise BenchmarkFailed(f"{done['rows']} of {rows} lines were written")
    return float(done["seconds"])


def events(environment: Environment, rounds: int) -> Figure:
    """Post full batches of new followers over one connection, one after the other."""
    rates = []
    for number in range(rounds):
        bodies = [body(number * BATCHES + batch) for batch in range(BATCHES)]
        began = time.perf_counter()
        for each in bodies:
            environment.requests.post_events(each)
        rates.append(BATCHES * LINES / (time.perf_counter() - began))
    return Figure(f"events over HTTP, {LINES:,} lines a request", tuple(rates), "lines/s")


def body(number: int) -> bytes:
    """Return a batch of followers that differ from those of every other batch."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in followers(number))


def followers(number: int) -> Iterator[dict[str, Any]]:
    """Yield the events of one batch."""
    for line in range(number * LINES, (number + 1) * LINES):
        row = {
            "email": f"fan.{line}@example.com",
            "created_at": "2026-03-01T10:00:00Z",
            "confirmed_at": "2026-03-01T10:05:00Z",
        }
        event = {"source": "follower", "key": str(line), "version": 1, "row": row}
        yield event | {"seller_id": EVENTS_SELLER + line % 50}


def replication(environment: Environment, rows: int) -> tuple[Figure, ...]:
    """Copy a storefront once, then replicate single changes and many in one commit."""
    feed = ReplicationSource(environment, rows)
    try:
        copied = rows / feed.copy()
        lags = tuple(asyncio.run(feed.follow(1)) for _ in range(CHANGES))
        inserted = BURST_ROWS / asyncio.run(feed.follow(BURST_ROWS))
        updated = BURST_ROWS / asyncio.run(feed.move(BURST_ROWS))
    finally:
        feed.close()
    name = "logical replication"
    return (
        Figure(f"{name}, initial copy of {rows:,} rows", (copied,), "rows/s"),
        Figure(f"{name}, idle: commit there to member here", lags, "s"),
        Figure(f"{name}, {BURST_ROWS:,} inserts in one commit", (inserted,), "rows/s"),
        Figure(f"{name}, {BURST_ROWS:,} new addresses in one commit", (updated,), "rows/s"),
    )
