"""The cost of the formula guard: the same export with and without it."""

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import BenchmarkFailed
from benchmarks.reporting.figures import Bound, Figure, ratios
from benchmarks.reporting.result import ScenarioResult

OVER_UNGUARDED_MAX = Bound(1.10)


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Alternate guarded and unguarded exports in one worker, each first in every other round.

    The first round is a warm-up.
    """
    seller_id = environment.seller(options.rows)
    environment.restart_worker()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(options.runs + 1):
        for safe in (True, False) if number % 2 else (False, True):
            seconds[safe].append(processing_s(environment, seller_id, options.rows, safe=safe))
    guarded, unguarded = (tuple(seconds[safe][1:]) for safe in (True, False))
    rows = f"{options.rows:,} rows"
    return ScenarioResult(
        (
            Figure(f"{rows}, guarded, claim to success", guarded, "s"),
            Figure(f"{rows}, spreadsheet_safe: false, claim to success", unguarded, "s"),
            Figure(f"{rows}, guarded over not", ratios(guarded, unguarded), "", OVER_UNGUARDED_MAX),
        )
    )


def processing_s(environment: Environment, seller_id: int, rows: int, *, safe: bool) -> float:
    """Export once and return the seconds from claim to success."""
    export = environment.requests.run_export(seller_id, spreadsheet_safe=safe)
    if export.rows != rows:
        raise BenchmarkFailed(f"{export.rows} rows were exported, not {rows}")
    return export.processing_s
