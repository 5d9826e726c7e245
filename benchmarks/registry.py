"""The scenarios by name, in the order in which they run."""

from collections.abc import Callable, Mapping

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.reporting.result import ScenarioResult
from benchmarks.scenarios import (
    api,
    bulk,
    checksums,
    citus,
    embedded,
    feeds,
    file_options,
    fleet,
    formula_guard,
    growth,
    huge,
    lanes,
    large,
    large_table,
    latency,
    memory,
    peers,
    simulation,
    small,
    streams,
    workbook,
)

PARTS: Mapping[str, Callable[[Environment, Options], ScenarioResult]] = {
    "large": large.run,
    "memory": memory.run,
    "huge": huge.run,
    "lanes": lanes.run,
    "fleet": fleet.run,
    "peers": peers.run,
    "bulk": bulk.run,
    "latency": latency.run,
    "small": small.run,
    "api": api.run,
    "embedded": embedded.run,
    "guard": formula_guard.run,
    "checksums": checksums.run,
    "options": file_options.run,
    "xlsx": workbook.run,
    "streams": streams.run,
    "feeds": feeds.run,
    "growth": growth.run,
    "scale": large_table.run,
    "citus": citus.run,
    "simulation": simulation.run,
}
"""Scenarios with targets come first, so that an interrupted run has most of the targets."""

ON_REQUEST = ("scale", "citus", "simulation")
"""``scale`` takes longer than all others (``make bench-large``), ``citus`` needs ``CITUS_BIN``, and
``simulation`` measures nothing."""

DEFAULT = tuple(name for name in PARTS if name not in ON_REQUEST)
