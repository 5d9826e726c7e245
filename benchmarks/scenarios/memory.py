"""The worker's peak memory, which must not depend on the size of the list."""

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import Measurement
from benchmarks.reporting.figures import Bound, Figure, ratios
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import PEAK_MEMORY

PEAK_MAX = Bound(150)
GROWTH_MAX = Bound(1.10)
SMALLER_BY = 10
STREAMS_MAX = "8"
MB = 1_000_000


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Compare fresh workers: one exports the large list, one a tenth of it.

    A third has a slow store, so that parts accumulate up to their limit; a fourth has as many
    streams as there may be.
    """
    small, large = options.rows // SMALLER_BY, options.rows
    slow = environment.start_slow_store()
    smaller: list[Measurement] = []
    larger: list[Measurement] = []
    slower: list[Measurement] = []
    wider: list[Measurement] = []
    for _ in range(options.runs):
        smaller.append(environment.measure_export(small))
        larger.append(environment.measure_export(large))
        slower.append(environment.measure_export(large, **slow))
        wider.append(environment.measure_export(large, EXPORT_STREAMS=STREAMS_MAX))
    name = "peak memory of the worker"
    growth = ratios(megabytes(larger), megabytes(smaller))
    return ScenarioResult(
        (
            Figure(f"{name}, {small:,} rows", megabytes(smaller), "MB", PEAK_MAX),
            Figure(f"{name}, {large:,} rows", megabytes(larger), "MB", goal=PEAK_MEMORY),
            Figure(f"{name}, ten times the rows", growth, target=GROWTH_MAX),
            Figure(f"{name}, {large:,} rows, slow store", megabytes(slower), "MB", goal=PEAK_MAX),
            Figure(f"{name}, {STREAMS_MAX} streams", megabytes(wider), "MB", goal=PEAK_MAX),
            Figure(f"processor time, {large:,} rows", tuple(run.cpu_s for run in larger), "s"),
        )
    )


def megabytes(runs: list[Measurement]) -> tuple[float, ...]:
    """Return the peaks in MB."""
    return tuple(run.peak_bytes / MB for run in runs)
