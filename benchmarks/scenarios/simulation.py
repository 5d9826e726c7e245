"""Fleets that no machine at hand can run, simulated; nothing is measured here."""

from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.reporting.result import ScenarioResult
from benchmarks.simulation.scenarios import figures


def run(_environment: Environment, _options: Options) -> ScenarioResult:
    """Return the simulated figures, which are the same each time."""
    return ScenarioResult(figures())
