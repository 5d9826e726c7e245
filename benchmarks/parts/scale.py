"""The same small list in a table of fifty million members: it must cost what it costs alone."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import fmean

import asyncpg

from app.exports.snapshot import KEEP_TO_THE_INDEX
from benchmarks.cold import restart_cold
from benchmarks.crowd import (
    HUNDRED,
    MEASURED_ROWS,
    PURCHASES,
    measured_sellers,
)
from benchmarks.figures import Bound, Figure, ratios
from benchmarks.jobs import BenchmarkFailed
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.plans import Read, explain, read_of
from benchmarks.separate import Separate
from benchmarks.stage import Stage

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
"""Comes before every export."""


def run(stage: Stage, options: Options) -> Outcome:
    """Compare exports of 10,000 rows in a large and in a small table, in turn."""
    stage.stop_worker()
    with ExitStack() as stack:
        small = stack.enter_context(Separate(stage, "scale_small", 1, sum(HUNDRED)))
        large = stack.enter_context(Separate(stage, "scale_large", 2, options.members))
        figures = [
            *compared(large, small, "", options.latency_runs),
            *read(stage, large, "at rest"),
            *compared(large, small, "cold", options.runs, lambda: make_cold(stage, large, small)),
            *written(stage, large, small, options),
            *vacuumed(stage, large, small, options),
        ]
    return Outcome(tuple(figures))


def compared(
    large: Separate, small: Separate, how: str, runs: int, between: Between = lambda: None
) -> tuple[Figure, ...]:
    """Let exports from both tables take turns, each first in every other round.

    One round before does not count.
    """
    seconds: dict[Separate, list[float]] = {large: [], small: []}
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


def processing_s(table: Separate) -> float:
    """Export the measured list once and return the seconds from claim to success."""
    export = table.requests.perform(measured_sellers(table.members)[0])
    if export.rows != MEASURED_ROWS:
        raise BenchmarkFailed(f"{export.rows} rows were exported, not {MEASURED_ROWS}")
    return export.processing_s


def make_cold(stage: Stage, *tables: Separate) -> None:
    """Empty the caches, then let the services connect anew for another seller of each."""
    restart_cold(stage)
    for table in tables:
        table.requests.perform(measured_sellers(table.members)[0] + 1)


def reads(stage: Stage, table: Separate) -> list[Read]:
    """Execute the merge's query as exports do, for some sellers, and return what it read."""
    sellers = measured_sellers(table.members)[:PLANNED_SELLERS]
    merges = [explain(stage.peer_spec(seller)["sql"]) for seller in sellers]
    told = [table.query(f"BEGIN; {KEEP_TO_THE_INDEX}; {merge}; COMMIT") for merge in merges]
    return [read_of(each) for each in told]


def read(stage: Stage, table: Separate, when: str) -> tuple[Figure, ...]:
    """Return how the merge's query reads the table: by the index alone or not."""
    done = reads(stage, table)
    name = f"merge of {MEASURED_ROWS:,} rows {when}"
    fetched = tuple(each.heap_fetches / each.rows for each in done)
    by_index = (fmean(each.index_only for each in done),)
    return (
        Figure(f"{name}: index-only scans, share", by_index, target=INDEX_ONLY_MIN),
        Figure(f"{name}: heap fetches a row", fetched),
        Figure(f"{name}: pages", tuple(float(each.pages) for each in done)),
    )


def written(stage: Stage, large: Separate, small: Separate, options: Options) -> tuple[Figure, ...]:
    """Compare while a storefront writes to each table, to the measured list too."""
    writers = [large.start_writer(), small.start_writer()]
    try:
        figures = compared(large, small, "while written", options.latency_runs)
        for writer in writers:
            if writer.exit_status is not None:
                raise BenchmarkFailed(f"a writer ended early: {writer.log.read_text()[-2000:]}")
        return (*figures, *read(stage, large, "while written"))
    finally:
        for writer in writers:
            writer.stop()


def vacuumed(
    stage: Stage, large: Separate, small: Separate, options: Options
) -> tuple[Figure, ...]:
    """Compare just before autovacuum comes to the large table, and after it did its work.

    What the writers left is vacuumed first: it counts towards the threshold.
    """
    large.query("VACUUM audience_members")
    stage.query("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    stage.query("SELECT pg_reload_conf()")
    threshold = int(large.query(THRESHOLD))
    before = int(large.query(VACUUMED))
    asyncio.run(buy(large, int(threshold * 0.8)))
    worst = (
        *compared(large, small, "before autovacuum", options.latency_runs),
        *read(stage, large, "before autovacuum"),
    )
    asyncio.run(buy(large, int(threshold * 0.5)))
    taken_s = wait_for_autovacuum(large, before)
    return (
        *worst,
        *compared(large, small, "after autovacuum", options.latency_runs),
        *read(stage, large, "after autovacuum"),
        Figure("autovacuum: until it was done", (taken_s,), "s"),
        Figure(
            "share of pages all visible after autovacuum",
            (float(large.query(VISIBLE)),),
            target=VISIBLE_MIN,
        ),
    )


async def buy(table: Separate, members: int) -> None:
    """Let about so many members all over the table buy once more."""
    connection = await asyncpg.connect(table.url, timeout=60, command_timeout=None)
    try:
        drawn = int(members / PURCHASES_PER_DRAW)
        await connection.execute(PURCHASES, drawn, 0, table.members)
    finally:
        await connection.close()


def wait_for_autovacuum(table: Separate, count: int) -> float:
    """Wait until the table was vacuumed once more than ``count`` times; return the seconds.

    Raises:
        BenchmarkFailed: it was not, in time.
    """
    started_at = time.monotonic()
    while int(table.query(VACUUMED)) <= count:
        if time.monotonic() - started_at > AUTOVACUUM_TIMEOUT_S:
            raise BenchmarkFailed(f"no autovacuum within {AUTOVACUUM_TIMEOUT_S} s")
        time.sleep(POLL_S)
    return time.monotonic() - started_at
