"""Small exports while large ones run: they must not wait for them, nor hold them up for long."""

import threading

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.reporting.figures import Figure, quantile
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import LANES, LARGE_BESIDE

TAIL = 0.95
MEDIAN = 0.5

LARGE_RUNS = 2


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Compare the p95 of small exports, and the time of large ones, alone and together."""
    large = environment.seller(options.huge_rows)
    environment.restart_worker()
    idle = small_exports_s(environment, options.latency_runs)
    alone = [environment.requests.run_export(large).total_s for _ in range(LARGE_RUNS)]
    beside, large_beside = both_s(environment, large, options.latency_runs)
    name = f"500 rows beside {options.huge_rows:,}"
    over_idle = (quantile(beside, TAIL) / quantile(idle, TAIL),)
    over_alone = (quantile(large_beside, MEDIAN) / min(alone),)
    return ScenarioResult(
        (
            Figure(f"{name}: POST to success", tuple(beside), "s"),
            Figure(f"{name}: p95 over idle", over_idle, goal=LANES),
            Figure(
                f"{options.huge_rows:,} rows beside those, over alone",
                over_alone,
                goal=LARGE_BESIDE,
            ),
        )
    )


def both_s(
    environment: Environment, seller_id: int, latency_runs: int
) -> tuple[list[float], list[float]]:
    """Run small exports while one large one runs after the other; return the seconds of each.

    At least ``latency_runs`` small exports, and as many as it takes for two large ones to end.
    """
    ended = threading.Event()
    large: list[float] = []
    busy = threading.Thread(target=keep_exporting, args=(environment, seller_id, large, ended))
    busy.start()
    small: list[float] = []
    try:
        while busy.is_alive() and (len(small) < latency_runs or len(large) < LARGE_RUNS):
            small += small_exports_s(environment, 1)
    finally:
        ended.set()
        busy.join()
    return small, large[:LARGE_RUNS]


def small_exports_s(environment: Environment, runs: int) -> list[float]:
    """Run small exports one after the other; return the seconds from POST to success of each."""
    seller_id = environment.small_sellers(1)[0]
    return [environment.requests.run_export(seller_id).total_s for _ in range(runs)]


def keep_exporting(
    environment: Environment, seller_id: int, seconds: list[float], ended: threading.Event
) -> None:
    """Export one seller's list repeatedly until ``ended`` is set, and note the seconds of each."""
    requests = environment.requests.clone()
    while not ended.is_set():
        seconds.append(requests.run_export(seller_id).total_s)
