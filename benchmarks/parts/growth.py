"""Growth: the same export at ten times the rows, and ten times more."""

from collections.abc import Mapping

from benchmarks.contenders import ONE_STREAM, SERVICE, Contender, all_contenders, contest
from benchmarks.figures import Contest, Figure
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.promises import TIME_PER_ROW
from benchmarks.stage import Stage

FIRST_ROWS = 10_000
STEP = 10
JUDGED_ROWS = 1_000_000
"""Below, what an export costs whatever its size would be counted as rows."""


def run(stage: Stage, options: Options) -> Outcome:
    """Let everyone grow until the next size would take longer than ``patience_s``."""
    contenders = {name: each for name, each in all_contenders().items() if name != ONE_STREAM}
    curves: list[Contest] = []
    rows = FIRST_ROWS
    while rows <= options.growth_rows:
        curves.append(contest("Growth", stage, options.growing, rows, contenders))
        contenders = still_patient(contenders, curves[-1], options.patience_s)
        rows *= STEP
    return Outcome(per_row(curves), curves=tuple(curves))


def still_patient(
    contenders: Mapping[str, Contender], last: Contest, patience_s: float
) -> dict[str, Contender]:
    """Return who would take part at the next size."""
    return {
        name: each
        for name, each in contenders.items()
        if last.entry(name).median("seconds") * STEP <= patience_s
    }


def per_row(curves: list[Contest]) -> tuple[Figure, ...]:
    """Return the service's time per row at the largest size over a tenth of it."""
    if len(curves) < 2 or curves[-2].rows < JUDGED_ROWS:
        return ()
    smaller, larger = (
        [seconds / each.rows for seconds in each.entry(SERVICE).samples("seconds")]
        for each in curves[-2:]
    )
    ratio = tuple(over / under for over, under in zip(larger, smaller, strict=True))
    name = f"time per row, {curves[-1].rows:,} over {curves[-2].rows:,} rows"
    return (Figure(name, ratio, goal=TIME_PER_ROW),)
