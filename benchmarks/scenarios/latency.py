"""Idle latency: one small export at a time."""

import random
import time

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.reporting.figures import Bound, Figure
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import IDLE_LATENCY

TOTAL_S_MAX = Bound(0.3)
PAUSE_S = 0.2
"""The longest pause between exports; it varies, so that they meet every phase of a poll."""


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Run exports of 500 rows one after the other, each once the service is idle again."""
    seller_id = environment.small_sellers(1)[0]
    environment.restart_worker()
    performed = []
    for _ in range(options.latency_runs):
        export = environment.requests.run_export(seller_id)
        environment.requests.wait_until_mailed(export.id)
        performed.append(export)
        time.sleep(random.uniform(0, PAUSE_S))
    total, answered, processing = zip(
        *((each.total_s, each.answered_s, each.processing_s) for each in performed), strict=True
    )
    return ScenarioResult(
        (
            Figure("500 rows, idle: POST to success", total, "s", TOTAL_S_MAX, IDLE_LATENCY),
            Figure("500 rows, idle: claim to success", processing, "s"),
            Figure("500 rows, idle: until the client knows", answered, "s"),
        )
    )
