"""Idle latency: one small export at a time."""

import random
import time

from benchmarks.figures import Bound, Figure
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import IDLE_LATENCY
from benchmarks.stage import Stage

TOTAL_S_MAX = Bound(0.3)
PAUSE_S = 0.2
"""Up to so long between exports, so that they meet every phase of a poll."""


def run(stage: Stage, options: Options) -> Outcome:
    """Perform exports of 500 rows one after the other, each when all is quiet again."""
    seller_id = stage.small_sellers(1)[0]
    stage.fresh_worker()
    performed = []
    for _ in range(options.latency_runs):
        export = stage.requests.perform(seller_id)
        stage.requests.wait_until_mailed(export.id)
        performed.append(export)
        time.sleep(random.uniform(0, PAUSE_S))
    total, answered, processing = zip(
        *((each.total_s, each.answered_s, each.processing_s) for each in performed), strict=True
    )
    return Outcome(
        (
            Figure("500 rows, idle: POST to success", total, "s", TOTAL_S_MAX, IDLE_LATENCY),
            Figure("500 rows, idle: claim to success", processing, "s"),
            Figure("500 rows, idle: until the client knows", answered, "s"),
        )
    )
