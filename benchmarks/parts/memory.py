"""The worker's peak memory: flat, whatever the size of the list."""

from benchmarks.figures import Bound, Figure, ratios
from benchmarks.jobs import Run
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import PEAK_MEMORY
from benchmarks.stage import Stage

PEAK_MAX = Bound(150)
GROWTH_MAX = Bound(1.10)
SMALLER_BY = 10
MB = 1_000_000


def run(stage: Stage, options: Options) -> Outcome:
    """Compare fresh workers: one has exported the large list, one a tenth of it.

    A third had a store that takes its time, so that parts pile up as far as
    they may.
    """
    small, large = options.rows // SMALLER_BY, options.rows
    slow = stage.start_slow_store()
    smaller: list[Run] = []
    larger: list[Run] = []
    slower: list[Run] = []
    for _ in range(options.runs):
        smaller.append(stage.measure_export(small))
        larger.append(stage.measure_export(large))
        slower.append(stage.measure_export(large, **slow))
    name = "peak memory of the worker"
    growth = ratios(megabytes(larger), megabytes(smaller))
    return Outcome(
        (
            Figure(f"{name}, {small:,} rows", megabytes(smaller), "MB", PEAK_MAX),
            Figure(f"{name}, {large:,} rows", megabytes(larger), "MB", goal=PEAK_MEMORY),
            Figure(f"{name}, ten times the rows", growth, target=GROWTH_MAX),
            Figure(f"{name}, {large:,} rows, slow store", megabytes(slower), "MB", goal=PEAK_MAX),
            Figure(f"processor time, {large:,} rows", tuple(run.cpu_s for run in larger), "s"),
        )
    )


def megabytes(runs: list[Run]) -> tuple[float, ...]:
    """Return the peaks in MB."""
    return tuple(run.peak_bytes / MB for run in runs)
