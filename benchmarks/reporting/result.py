"""The result of a scenario."""

from dataclasses import dataclass

from benchmarks.reporting.figures import Comparison, Figure


@dataclass(frozen=True)
class ScenarioResult:
    """Figures and comparisons, both in order."""

    figures: tuple[Figure, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    curves: tuple[Comparison, ...] = ()
    """Comparisons at growing sizes, for the plot."""

    failure: str = ""
    """Why the scenario could not run."""
