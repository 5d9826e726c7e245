"""Growth: the same export at ten times and a hundred times the rows."""

from collections.abc import Mapping

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.reporting.figures import Comparison, Figure
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import TIME_PER_ROW
from benchmarks.scenarios.contenders import (
    ONE_STREAM,
    SERVICE,
    WORKBOOKS,
    Contender,
    all_contenders,
    compare,
)

FIRST_ROWS = 10_000
STEP = 10
TARGET_ROWS_MIN = 1_000_000
"""In smaller exports, the fixed cost would be counted as cost per row."""


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Run each contender at growing sizes, until the next would take longer than ``max_run_s``."""
    contenders = {**all_contenders(), **WORKBOOKS}
    del contenders[ONE_STREAM]
    curves: list[Comparison] = []
    rows = FIRST_ROWS
    while rows <= options.growth_rows:
        curves.append(compare("Growth", environment, options.growing, rows, contenders))
        contenders = within_time_limit(contenders, curves[-1], options.max_run_s)
        rows *= STEP
    return ScenarioResult(per_row(curves), curves=tuple(curves))


def within_time_limit(
    contenders: Mapping[str, Contender], last: Comparison, max_run_s: float
) -> dict[str, Contender]:
    """Return the contenders that are fast enough for the next size."""
    return {
        name: each
        for name, each in contenders.items()
        if last.entry(name).median("seconds") * STEP <= max_run_s
    }


def per_row(curves: list[Comparison]) -> tuple[Figure, ...]:
    """Return the service's time per row at the largest size, relative to a tenth of that size."""
    if len(curves) < 2 or curves[-2].rows < TARGET_ROWS_MIN:
        return ()
    smaller, larger = (
        [seconds / each.rows for seconds in each.entry(SERVICE).samples("seconds")]
        for each in curves[-2:]
    )
    ratio = tuple(over / under for over, under in zip(larger, smaller, strict=True))
    name = f"time per row, {curves[-1].rows:,} over {curves[-2].rows:,} rows"
    return (Figure(name, ratio, goal=TIME_PER_ROW),)
