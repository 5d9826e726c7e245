"""Figures: medians of samples from one run, and whether they meet their target."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.processes.subprocesses import Measurement


@dataclass(frozen=True)
class Bound:
    """The limit for a figure: at most ``value``, or at least."""

    value: float
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """Return ``pass`` where ``value`` meets the bound, else ``missed``."""
        met = value >= self.value if self.at_least else value <= self.value
        return "pass" if met else "missed"


@dataclass(frozen=True)
class Figure:
    """One figure: the median of its samples, in ``unit`` (empty for a ratio).

    ``target`` is what the service promises, ``goal`` what development aims at; ``None`` is none.
    """

    name: str
    samples: tuple[float, ...]
    unit: str = ""
    target: Bound | None = None
    goal: Bound | None = None

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples)


@dataclass(frozen=True)
class ContenderFigures:
    """One contender of a comparison, and its runs."""

    name: str
    runs: tuple[Measurement, ...]

    def samples(self, measure: str) -> tuple[float, ...]:
        """Return one measure (a field of :class:`Measurement`) of every run, in order."""
        return tuple(float(getattr(run, measure)) for run in self.runs)

    def median(self, measure: str) -> float:
        """Return the median of one measure."""
        return median(self.samples(measure))


@dataclass(frozen=True)
class Comparison:
    """Contenders that exported the same list in turn; ratios are relative to ``against``."""

    name: str
    rows: int
    entries: tuple[ContenderFigures, ...]
    against: str

    def entry(self, name: str) -> ContenderFigures:
        """Return a contender by name."""
        return next(entry for entry in self.entries if entry.name == name)

    def ratios(self, name: str, against: str | None = None) -> tuple[float, ...]:
        """Return a contender's seconds over another's, round by round."""
        other = self.entry(against or self.against)
        return ratios(self.entry(name).samples("seconds"), other.samples("seconds"))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, ...]:
    """Return the ratio of each round's two samples.

    The samples of one round had the same load on the machine; two medians may not.
    """
    return tuple(over / under for over, under in zip(numerators, denominators, strict=True))


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least ``share`` of all do not exceed."""
    ordered = sorted(samples)
    at = max(0, -(-len(ordered) * share // 1) - 1)
    return ordered[int(at)]
