"""Every promise with what was measured: kept, or missed by how much."""

from dataclasses import dataclass

from benchmarks.figures import Bound, Figure
from benchmarks.promises import PROMISES, Promise

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """One promise and a figure that answers it, if one was taken."""

    promise: Promise
    figure: Figure | None

    @property
    def name(self) -> str:
        """The figure's name, which tells the sizes; without one, the promise's."""
        return self.figure.name if self.figure else self.promise.name

    @property
    def words(self) -> str:
        """``pass``, ``missed by 12 %`` of the bound, or that it was not measured."""
        return outcome(self.promise, self.figure.value) if self.figure else NOT_MEASURED


def verdicts(figures: list[Figure]) -> list[Verdict]:
    """Return the verdict on every promise, in their order; some are answered twice."""
    found: list[Verdict] = []
    for promise in PROMISES:
        answers = [Verdict(promise, figure) for figure in figures if figure.goal is promise]
        found += answers or [Verdict(promise, None)]
    return found


def outcome(bound: Bound, value: float) -> str:
    """Return whether ``value`` keeps the bound, and by how much of it not."""
    verdict = bound.verdict(value)
    if verdict == "pass":
        return verdict
    missed = abs(value - bound.value) / bound.value * 100
    return f"{verdict} by {missed:.2g} %" if missed < 100 else f"{verdict} by {missed:.0f} %"
