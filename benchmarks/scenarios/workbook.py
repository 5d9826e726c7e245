"""A workbook, compared with the CSV of the same list."""

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import Measurement
from benchmarks.reporting.figures import Bound, Figure, ratios
from benchmarks.reporting.result import ScenarioResult
from benchmarks.scenarios.memory import PEAK_MAX, megabytes

ROWS = 1_200_000
"""More than one sheet holds."""

OVER_CSV_MAX = Bound(3)
FORMATS = ("csv", "xlsx")


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Export the same list in both formats in turn, with the default streams and with one.

    Each export has a fresh worker.
    """
    figures: list[Figure] = []
    rows = min(ROWS, options.rows)
    for streams, settings in (("", {}), (", 1 stream", {"EXPORT_STREAMS": "1"})):
        runs: dict[str, list[Measurement]] = {each: [] for each in FORMATS}
        for number in range(options.runs):
            for each in FORMATS if number % 2 else FORMATS[::-1]:
                runs[each].append(environment.measure_export(rows, {"format": each}, **settings))
        figures += compared(f"{rows:,} rows{streams}", runs["csv"], runs["xlsx"])
    return ScenarioResult(tuple(figures))


def compared(rows: str, csv: list[Measurement], xlsx: list[Measurement]) -> list[Figure]:
    """Return the figures of both formats over the same streams."""
    seconds, csv_seconds = seconds_of(xlsx), seconds_of(csv)
    return [
        Figure(f"{rows}, CSV, claim to success", csv_seconds, "s"),
        Figure(f"{rows}, workbook, claim to success", seconds, "s"),
        Figure(f"{rows}, workbook over CSV", ratios(seconds, csv_seconds), target=OVER_CSV_MAX),
        Figure(f"{rows}, CSV, processor time", tuple(run.cpu_s for run in csv), "s"),
        Figure(f"{rows}, workbook, processor time", tuple(run.cpu_s for run in xlsx), "s"),
        Figure(f"{rows}, CSV, peak memory", megabytes(csv), "MB"),
        Figure(f"{rows}, workbook, peak memory", megabytes(xlsx), "MB", target=PEAK_MAX),
    ]


def seconds_of(runs: list[Measurement]) -> tuple[float, ...]:
    """Return the seconds of each run."""
    return tuple(run.seconds for run in runs)
