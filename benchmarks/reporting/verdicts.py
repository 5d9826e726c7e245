"""Every target with its measured value: met, or missed by how much."""

from dataclasses import dataclass

from benchmarks.reporting.figures import Bound, Figure
from benchmarks.reporting.targets import TARGETS, Target

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """One target and a figure measured for it, if any."""

    target: Target
    figure: Figure | None

    @property
    def name(self) -> str:
        """The figure's name, which includes the sizes; without a figure, the target's."""
        return self.figure.name if self.figure else self.target.name

    @property
    def words(self) -> str:
        """``pass``, ``missed by 12 %`` of the bound, or that it was not measured."""
        return outcome(self.target, self.figure.value) if self.figure else NOT_MEASURED


def verdicts(figures: list[Figure]) -> list[Verdict]:
    """Return the verdicts on every target, in order; some have several figures."""
    found: list[Verdict] = []
    for target in TARGETS:
        answers = [Verdict(target, figure) for figure in figures if figure.goal is target]
        found += answers or [Verdict(target, None)]
    return found


def outcome(bound: Bound, value: float) -> str:
    """Return whether ``value`` meets the bound, else by which share it misses."""
    verdict = bound.verdict(value)
    if verdict == "pass":
        return verdict
    missed = abs(value - bound.value) / bound.value * 100
    return f"{verdict} by {missed:.2g} %" if missed < 100 else f"{verdict} by {missed:.0f} %"
