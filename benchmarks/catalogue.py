"""The parts by name, in the order in which they run."""

from collections.abc import Callable, Mapping

from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.parts import bulk, embedded, large, latency, memory, peers
from benchmarks.stage import Stage

PARTS: Mapping[str, Callable[[Stage, Options], Outcome]] = {
    "large": large.run,
    "peers": peers.run,
    "embedded": embedded.run,
    "memory": memory.run,
    "bulk": bulk.run,
    "latency": latency.run,
}
