"""Small exports beside large ones: nobody waits for the seller with millions."""

import threading

from benchmarks.figures import Figure, quantile
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import LANES
from benchmarks.stage import Stage

TAIL = 0.95


def run(stage: Stage, options: Options) -> Outcome:
    """Compare the 95th percentile of small exports alone and beside large ones."""
    large = stage.seller(options.huge_rows)
    stage.fresh_worker()
    idle = small_exports_s(stage, options)
    ended = threading.Event()
    busy = threading.Thread(target=keep_exporting, args=(stage, large, ended))
    busy.start()
    try:
        beside = small_exports_s(stage, options)
    finally:
        ended.set()
        busy.join()
    name = f"500 rows beside {options.huge_rows:,}"
    over_idle = (quantile(beside, TAIL) / quantile(idle, TAIL),)
    return Outcome(
        (
            Figure(f"{name}: POST to success", tuple(beside), "s"),
            Figure(f"{name}: p95 over idle", over_idle, goal=LANES),
        )
    )


def small_exports_s(stage: Stage, options: Options) -> list[float]:
    """Perform small exports one after the other and return POST to success of each."""
    seller_id = stage.small_sellers(1)[0]
    return [stage.requests.perform(seller_id).total_s for _ in range(options.latency_runs)]


def keep_exporting(stage: Stage, seller_id: int, ended: threading.Event) -> None:
    """Export one seller's list again and again until ``ended``."""
    requests = stage.requests.another()
    while not ended.is_set():
        requests.perform(seller_id)
