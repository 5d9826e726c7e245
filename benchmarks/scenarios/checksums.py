"""The cost of the checksums: the same export with them and without, in one worker."""

import os

import psutil

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.worker_with_switch import OFF, ON
from benchmarks.reporting.figures import Bound, Figure, ratios
from benchmarks.reporting.result import ScenarioResult
from benchmarks.scenarios.file_options import PLAIN, processing_s

OVER_UNCHECKED_MAX = Bound(1.03)

ROUNDS = 3
"""For each of ``--runs``: the cost is less than the noise of a few."""


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Alternate exports with and without checksums, each first in every other round.

    The first round is a warm-up.
    """
    seller_id = environment.seller(options.rows)
    worker = psutil.Process(
        environment.restart_worker("benchmarks.processes.worker_with_switch").pid
    )
    seconds: dict[int, list[float]] = {ON: [], OFF: []}
    cpu_s: dict[int, list[float]] = {ON: [], OFF: []}
    for number in range(options.runs * ROUNDS + 1):
        for signal in (ON, OFF) if number % 2 else (OFF, ON):
            os.kill(worker.pid, signal)
            before = sum(worker.cpu_times()[:2])
            seconds[signal].append(processing_s(environment, seller_id, options.rows, PLAIN))
            cpu_s[signal].append(sum(worker.cpu_times()[:2]) - before)
    with_them, without = (tuple(seconds[signal][1:]) for signal in (ON, OFF))
    cpu_with, cpu_without = (tuple(cpu_s[signal][1:]) for signal in (ON, OFF))
    rows = f"{options.rows:,} rows"
    figures = [
        Figure(f"{rows}, with checksums, claim to success", with_them, "s"),
        Figure(f"{rows}, without, claim to success", without, "s"),
        Figure(f"{rows}, with over without", ratios(with_them, without), "", OVER_UNCHECKED_MAX),
    ]
    if all(cpu_without):  # a short export takes less than a tick of the system's clock
        name = f"{rows}, worker's processor time, with over without"
        figures.append(Figure(name, ratios(cpu_with, cpu_without)))
    return ScenarioResult(tuple(figures))
