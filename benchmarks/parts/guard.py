"""The formula guard's cost: the same export with it and without it."""

from benchmarks.figures import Bound, Figure, ratios
from benchmarks.jobs import BenchmarkFailed
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.stage import Stage

OVER_UNGUARDED_MAX = Bound(1.10)


def run(stage: Stage, options: Options) -> Outcome:
    """Let guarded and unguarded exports take turns in one worker, each first in every other round.

    One round before does not count.
    """
    seller_id = stage.seller(options.rows)
    stage.fresh_worker()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(options.runs + 1):
        for safe in (True, False) if number % 2 else (False, True):
            seconds[safe].append(processing_s(stage, seller_id, options.rows, safe=safe))
    guarded, unguarded = (tuple(seconds[safe][1:]) for safe in (True, False))
    rows = f"{options.rows:,} rows"
    return Outcome(
        (
            Figure(f"{rows}, guarded, claim to success", guarded, "s"),
            Figure(f"{rows}, spreadsheet_safe: false, claim to success", unguarded, "s"),
            Figure(f"{rows}, guarded over not", ratios(guarded, unguarded), "", OVER_UNGUARDED_MAX),
        )
    )


def processing_s(stage: Stage, seller_id: int, rows: int, *, safe: bool) -> float:
    """Export once and return the seconds from claim to success."""
    export = stage.requests.perform(seller_id, spreadsheet_safe=safe)
    if export.rows != rows:
        raise BenchmarkFailed(f"{export.rows} rows were exported, not {rows}")
    return export.processing_s
