"""Ten million rows: memory and time per row, compared with smaller lists."""

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import Measurement
from benchmarks.reporting.figures import Figure, ratios
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import EQUAL_MEMORY, PEAK_MEMORY, TIME_PER_ROW
from benchmarks.scenarios.growth import TARGET_ROWS_MIN
from benchmarks.scenarios.memory import megabytes

SMALLER_BY = 10


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Export a huge list, a tenth of it and the large list in turn, each in a fresh worker."""
    huge, tenth, large = options.huge_rows, options.huge_rows // SMALLER_BY, options.rows
    runs: dict[int, list[Measurement]] = {tenth: [], large: [], huge: []}
    for _ in range(options.huge_runs):
        for rows, done in runs.items():
            done.append(environment.measure_export(rows))
    peak = "peak memory of the worker"
    growth = ratios(megabytes(runs[huge]), megabytes(runs[large]))
    figures = (
        Figure(f"{huge:,} rows, claim to success", tuple(r.seconds for r in runs[huge]), "s"),
        Figure(f"{peak}, {huge:,} rows", megabytes(runs[huge]), "MB", goal=PEAK_MEMORY),
        Figure(f"{peak}, {huge:,} over {large:,} rows", growth, goal=EQUAL_MEMORY),
    )
    if tenth < TARGET_ROWS_MIN:
        return ScenarioResult(figures)
    per_row = ratios(seconds_per_row(runs[huge], huge), seconds_per_row(runs[tenth], tenth))
    name = f"time per row, {huge:,} over {tenth:,} rows"
    return ScenarioResult((*figures, Figure(name, per_row, goal=TIME_PER_ROW)))


def seconds_per_row(runs: list[Measurement], rows: int) -> list[float]:
    """Return the seconds per row of each run."""
    return [run.seconds / rows for run in runs]
