"""The parts by name, in the order in which they run."""

from collections.abc import Callable, Mapping

from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.parts import (
    api,
    bulk,
    embedded,
    growth,
    guard,
    huge,
    lanes,
    large,
    latency,
    memory,
    peers,
    scale,
    small,
    streams,
)
from benchmarks.stage import Stage

PARTS: Mapping[str, Callable[[Stage, Options], Outcome]] = {
    "large": large.run,
    "peers": peers.run,
    "embedded": embedded.run,
    "guard": guard.run,
    "memory": memory.run,
    "huge": huge.run,
    "bulk": bulk.run,
    "latency": latency.run,
    "lanes": lanes.run,
    "small": small.run,
    "api": api.run,
    "streams": streams.run,
    "growth": growth.run,
    "scale": scale.run,
}

DEFAULT = tuple(name for name in PARTS if name != "scale")
"""The fifty million of ``scale`` take longer than all others: ``make bench-large``."""
