"""Inside a job's process: its own clock, processor time and peak memory, as one line of JSON.

Start-up, imports and a first small job are not counted in the time, as the
service's worker has them behind it too; the memory they take is. Standard
library only: peers run in an environment of their own.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
"""What a job is told: addresses, the query, where the file goes."""


def main(job: Callable[[Spec], dict[str, Any]]) -> None:
    """Run ``job`` as this process's argument says, in JSON, and print what it took.

    ``warm_up`` in there is what another job is told that comes first.
    """
    spec = json.loads(sys.argv[1])
    if "warm_up" in spec:
        job(spec["warm_up"])
    before_s, cpu_before_s = time.perf_counter(), cpu_s()
    facts = job(spec)
    seconds = time.perf_counter() - before_s
    measured = {"seconds": seconds, "cpu_s": cpu_s() - cpu_before_s, "peak_bytes": peak_bytes()}
    print(json.dumps(measured | facts))


def cpu_s() -> float:
    """Return the processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_bytes(pid: int | str = "self") -> int:
    """Return the most memory a process had resident so far.

    ``ru_maxrss`` would do, were it not inherited from the parent through
    exec on Linux; elsewhere it must do, for this process.
    """
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        factor = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
