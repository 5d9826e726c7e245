"""The same export by the alternatives."""

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.reporting.figures import Figure, ratios
from benchmarks.reporting.result import ScenarioResult
from benchmarks.reporting.targets import TIMES_FASTER
from benchmarks.scenarios.contenders import SERVICE, STREAM, all_contenders, compare


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Export the same list with each contender in turn."""
    comparison = compare("Peers", environment, options, options.peer_rows, all_contenders())
    if STREAM not in {entry.name for entry in comparison.entries}:
        return ScenarioResult(comparisons=(comparison,))
    streamed, ours = (comparison.entry(name).samples("seconds") for name in (STREAM, SERVICE))
    name = f"{comparison.rows:,} rows, times faster than {STREAM}"
    return ScenarioResult((Figure(name, ratios(streamed, ours), goal=TIMES_FASTER),), (comparison,))
