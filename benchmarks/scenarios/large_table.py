"""The same list in a table of fifty million members and in a small one: equal cost."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import fmean

import asyncpg

from app.exports.execution.snapshot import DISABLE_SORT
from benchmarks.datasets.skewed_members import HUNDRED, MEASURED_ROWS, PURCHASES, measured_sellers
from benchmarks.harness.cold_cache import restart_cold
from benchmarks.harness.environment import Environment
from benchmarks.harness.isolated_service import IsolatedService
from benchmarks.harness.options import Options
from benchmarks.harness.query_plans import ScanStatistics, explain, read_of
from benchmarks.processes.subprocesses import BenchmarkFailed
from benchmarks.reporting.figures import Bound, Figure, ratios
from benchmarks.reporting.result import ScenarioResult

OVER_SMALL_MAX = Bound(1.2)
INDEX_ONLY_MIN = Bound(1, at_least=True)
VISIBLE_MIN = Bound(0.95, at_least=True)
PLANNED_SELLERS = 20
PURCHASES_PER_DRAW = 0.6
AUTOVACUUM_TIMEOUT_S = 900
POLL_S = 0.5

THRESHOLD = """
    SELECT sum(
        CASE option_name
            WHEN 'autovacuum_vacuum_threshold' THEN option_value::float
            WHEN 'autovacuum_vacuum_scale_factor' THEN option_value::float * reltuples
        END
    )::bigint
    FROM pg_class
    CROSS JOIN pg_options_to_table(reloptions)
    WHERE oid = 'audience_members'::regclass
"""
VACUUMED = """
    SELECT autovacuum_count
    FROM pg_stat_user_tables
    WHERE relid = 'audience_members'::regclass
"""
VISIBLE = """
    SELECT relallvisible / relpages::float
    FROM pg_class
    WHERE oid = 'audience_members'::regclass
"""

Between = Callable[[], None]
"""Runs before every export."""


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Compare exports of 10,000 rows in a large and in a small table, in turn."""
    environment.stop_worker()
    with ExitStack() as stack:
        small = stack.enter_context(IsolatedService(environment, "scale_small", 1, sum(HUNDRED)))
        large = stack.enter_context(IsolatedService(environment, "scale_large", 2, options.members))
        figures = [
            *compare(large, small, "", options.latency_runs),
            *read_plan(environment, large, "at rest"),
            *compare(
                large, small, "cold", options.runs, lambda: make_cold(environment, large, small)
            ),
            *compare_under_writes(environment, large, small, options),
            *compare_around_vacuum(environment, large, small, options),
        ]
    return ScenarioResult(tuple(figures))


def compare(
    large: IsolatedService,
    small: IsolatedService,
    how: str,
    runs: int,
    between: Between = lambda: None,
) -> tuple[Figure, ...]:
    """Alternate exports from both tables, each first in every other round.

    The first round is a warm-up.
    """
    seconds: dict[IsolatedService, list[float]] = {large: [], small: []}
    for number in range(runs + 1):
        for table in (large, small) if number % 2 else (small, large):
            between()
            seconds[table].append(processing_s(table))
    among, alone = (tuple(seconds[table][1:]) for table in (large, small))
    name = f"{MEASURED_ROWS:,} rows" + (f", {how}" if how else "")
    return (
        Figure(f"{name}, among {large.members:,}: claim to success", among, "s"),
        Figure(f"{name}, among {small.members:,}: claim to success", alone, "s"),
        Figure(f"{name}, large over small table", ratios(among, alone), "", OVER_SMALL_MAX),
    )


def processing_s(table: IsolatedService) -> float:
    """Export the measured list once and return the seconds from claim to success."""
    export = table.requests.run_export(measured_sellers(table.members)[0])
    if export.rows != MEASURED_ROWS:
        raise BenchmarkFailed(f"{export.rows} rows were exported, not {MEASURED_ROWS}")
    return export.processing_s


def make_cold(environment: Environment, *tables: IsolatedService) -> None:
    """Empty the caches, then reconnect the services with an export of another seller."""
    restart_cold(environment)
    for table in tables:
        table.requests.run_export(measured_sellers(table.members)[0] + 1)


def reads(environment: Environment, table: IsolatedService) -> list[ScanStatistics]:
    """Execute the merge's query for some sellers, as exports do; return its statistics."""
    sellers = measured_sellers(table.members)[:PLANNED_SELLERS]
    merges = [explain(environment.alternative_spec(seller)["sql"]) for seller in sellers]
    plans = [table.query(f"BEGIN; {DISABLE_SORT}; {merge}; COMMIT") for merge in merges]
    return [read_of(each) for each in plans]


def read_plan(environment: Environment, table: IsolatedService, when: str) -> tuple[Figure, ...]:
    """Return how the merge's query reads the table: by an index-only scan or not."""
    done = reads(environment, table)
    name = f"merge of {MEASURED_ROWS:,} rows {when}"
    fetched = tuple(each.heap_fetches / each.rows for each in done)
    by_index = (fmean(each.index_only for each in done),)
    return (
        Figure(f"{name}: index-only scans, share", by_index, target=INDEX_ONLY_MIN),
        Figure(f"{name}: heap fetches a row", fetched),
        Figure(f"{name}: pages", tuple(float(each.pages) for each in done)),
    )


def compare_under_writes(
    environment: Environment, large: IsolatedService, small: IsolatedService, options: Options
) -> tuple[Figure, ...]:
    """Compare while a storefront writes to each table, to the measured list too."""
    writers = [large.start_writer(), small.start_writer()]
    try:
        figures = compare(large, small, "while written", options.latency_runs)
        for writer in writers:
            if writer.exit_status is not None:
                raise BenchmarkFailed(f"a writer ended early: {writer.log.read_text()[-2000:]}")
        return (*figures, *read_plan(environment, large, "while written"))
    finally:
        for writer in writers:
            writer.stop()


def compare_around_vacuum(
    environment: Environment, large: IsolatedService, small: IsolatedService, options: Options
) -> tuple[Figure, ...]:
    """Compare just before and after autovacuum processes the large table.

    The writers' dead rows are vacuumed first, since they count towards the threshold.
    """
    large.query("VACUUM audience_members")
    environment.query("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    environment.query("SELECT pg_reload_conf()")
    threshold = int(large.query(THRESHOLD))
    before = int(large.query(VACUUMED))
    asyncio.run(insert_purchases(large, int(threshold * 0.8)))
    worst = (
        *compare(large, small, "before autovacuum", options.latency_runs),
        *read_plan(environment, large, "before autovacuum"),
    )
    asyncio.run(insert_purchases(large, int(threshold * 0.5)))
    taken_s = wait_for_autovacuum(large, before)
    return (
        *worst,
        *compare(large, small, "after autovacuum", options.latency_runs),
        *read_plan(environment, large, "after autovacuum"),
        Figure("autovacuum: until it was done", (taken_s,), "s"),
        Figure(
            "share of pages all visible after autovacuum",
            (float(large.query(VISIBLE)),),
            target=VISIBLE_MIN,
        ),
    )


async def insert_purchases(table: IsolatedService, members: int) -> None:
    """Insert a purchase by about this many members across the table."""
    connection = await asyncpg.connect(table.url, timeout=60, command_timeout=None)
    try:
        drawn = int(members / PURCHASES_PER_DRAW)
        await connection.execute(PURCHASES, drawn, 0, table.members)
    finally:
        await connection.close()


def wait_for_autovacuum(table: IsolatedService, count: int) -> float:
    """Wait until the table has been vacuumed more than ``count`` times; return the seconds.

    Raises:
        BenchmarkFailed: it takes too long.
    """
    started_at = time.monotonic()
    while int(table.query(VACUUMED)) <= count:
        if time.monotonic() - started_at > AUTOVACUUM_TIMEOUT_S:
            raise BenchmarkFailed(f"no autovacuum within {AUTOVACUUM_TIMEOUT_S} s")
        time.sleep(POLL_S)
    return time.monotonic() - started_at
