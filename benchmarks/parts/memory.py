"""The worker's peak memory: flat, whatever the size of the list."""

from benchmarks.figures import Bound, Figure, ratios
from benchmarks.jobs import Run
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.stage import Stage

PEAK_MAX = Bound(150)
GROWTH_MAX = Bound(1.10)
SMALLER_BY = 10
MB = 1_000_000


def run(stage: Stage, options: Options) -> Outcome:
    """Compare fresh workers: one has exported the large list, one a tenth of it."""
    sizes = (options.rows // SMALLER_BY, options.rows)
    runs: dict[int, list[Run]] = {rows: [] for rows in sizes}
    for _ in range(options.runs):
        for rows in sizes:
            runs[rows].append(stage.measure_export(rows))
    smaller, larger = (megabytes(runs[rows]) for rows in sizes)
    return Outcome(
        (
            Figure(f"peak memory, {sizes[0]:,} rows", smaller, "MB", PEAK_MAX),
            Figure(f"peak memory, {sizes[1]:,} rows", larger, "MB", PEAK_MAX),
            Figure("peak memory, ten times the rows", ratios(larger, smaller), target=GROWTH_MAX),
            Figure(
                f"worker's processor time, {sizes[1]:,} rows",
                tuple(run.cpu_s for run in runs[options.rows]),
                "s",
            ),
        )
    )


def megabytes(runs: list[Run]) -> tuple[float, ...]:
    """Return the peaks in MB."""
    return tuple(run.peak_bytes / MB for run in runs)
