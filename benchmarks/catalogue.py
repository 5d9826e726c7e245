"""The parts by name, in the order in which they run."""

from collections.abc import Callable, Mapping

from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.parts import (
    api,
    bulk,
    embedded,
    feeds,
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
    "memory": memory.run,
    "huge": huge.run,
    "lanes": lanes.run,
    "peers": peers.run,
    "bulk": bulk.run,
    "latency": latency.run,
    "small": small.run,
    "api": api.run,
    "embedded": embedded.run,
    "guard": guard.run,
    "streams": streams.run,
    "feeds": feeds.run,
    "growth": growth.run,
    "scale": scale.run,
}
"""Those that answer a promise come first: a run that is stopped has most of them."""

DEFAULT = tuple(name for name in PARTS if name != "scale")
"""The fifty million of ``scale`` take longer than all others: ``make bench-large``."""
