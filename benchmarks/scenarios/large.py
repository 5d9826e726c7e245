"""The large export, compared with psql's COPY of the same query."""

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.reporting.figures import Bound, Comparison, Figure
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import OVER_PSQL, OVER_PSQL_ALONE
from benchmarks.scenarios.contenders import ONE_STREAM, PSQL, QUICK, SERVICE, compare

OVER_PSQL_MAX = Bound(1.25)


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Measure claim to success relative to psql, with the default streams and with one."""
    runs = compare("Large export", environment, options, options.rows, QUICK)
    return ScenarioResult(figures(runs), (runs,))


def figures(runs: Comparison) -> tuple[Figure, ...]:
    """Return the figures of the service, relative to psql."""
    rows = f"{runs.rows:,} rows"
    return (
        Figure(f"{rows}, claim to success", runs.entry(SERVICE).samples("seconds"), "s"),
        Figure(f"{rows}, psql COPY", runs.entry(PSQL).samples("seconds"), "s"),
        Figure(f"{rows}, over psql", runs.ratios(SERVICE), target=OVER_PSQL_MAX, goal=OVER_PSQL),
        Figure(f"{rows}, one stream, over psql", runs.ratios(ONE_STREAM), goal=OVER_PSQL_ALONE),
    )
