"""Measures a job inside its process and prints time, processor time and peak memory as JSON.

The time excludes start-up, imports and a small warm-up job, since the service's worker is
warm too; the memory includes them. Standard library only: alternatives run in their own
environment.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
"""The arguments of a job: URLs, the query, where the file goes."""


def main(job: Callable[[Spec], dict[str, Any]]) -> None:
    """Run ``job`` with the JSON in this process's argument and print the measurement.

    ``warm_up`` in the JSON holds the arguments of a first, unmeasured job.
    """
    spec = json.loads(sys.argv[1])
    if "warm_up" in spec:
        job(spec["warm_up"])
    before_s, cpu_before_s = time.perf_counter(), cpu_s()
    result = job(spec)
    seconds = time.perf_counter() - before_s
    measured = {"seconds": seconds, "cpu_s": cpu_s() - cpu_before_s, "peak_bytes": peak_bytes()}
    print(json.dumps(measured | result))


def cpu_s() -> float:
    """Return the processor seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_bytes(pid: int | str = "self") -> int:
    """Return the peak resident memory of a process so far.

    On Linux not from ``ru_maxrss``, which a process inherits from its parent through
    exec; elsewhere from it, for this process.
    """
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        factor = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
