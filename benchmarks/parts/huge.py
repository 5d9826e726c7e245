"""Ten million rows: as much memory as fewer take, and as much time for each."""

from benchmarks.figures import Figure, ratios
from benchmarks.jobs import Run
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.parts.growth import JUDGED_ROWS
from benchmarks.parts.memory import megabytes
from benchmarks.promises import EQUAL_MEMORY, PEAK_MEMORY, TIME_PER_ROW
from benchmarks.stage import Stage

SMALLER_BY = 10


def run(stage: Stage, options: Options) -> Outcome:
    """Export a huge list, a tenth of it and the large list in turn, each in a fresh worker."""
    huge, tenth, large = options.huge_rows, options.huge_rows // SMALLER_BY, options.rows
    runs: dict[int, list[Run]] = {tenth: [], large: [], huge: []}
    for _ in range(options.huge_runs):
        for rows, done in runs.items():
            done.append(stage.measure_export(rows))
    peak = "peak memory of the worker"
    growth = ratios(megabytes(runs[huge]), megabytes(runs[large]))
    figures = (
        Figure(f"{huge:,} rows, claim to success", tuple(r.seconds for r in runs[huge]), "s"),
        Figure(f"{peak}, {huge:,} rows", megabytes(runs[huge]), "MB", goal=PEAK_MEMORY),
        Figure(f"{peak}, {huge:,} over {large:,} rows", growth, goal=EQUAL_MEMORY),
    )
    if tenth < JUDGED_ROWS:
        return Outcome(figures)
    per_row = ratios(seconds_per_row(runs[huge], huge), seconds_per_row(runs[tenth], tenth))
    name = f"time per row, {huge:,} over {tenth:,} rows"
    return Outcome((*figures, Figure(name, per_row, goal=TIME_PER_ROW)))


def seconds_per_row(runs: list[Run], rows: int) -> list[float]:
    """Return what each row took."""
    return [run.seconds / rows for run in runs]
