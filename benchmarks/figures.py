"""Figures: medians of samples that were all taken in one run, and whether they reach a target."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.jobs import Run


@dataclass(frozen=True)
class Bound:
    """What a figure is to reach: at most ``value``, or at least it."""

    value: float
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """Return ``pass`` on the right side of the bound or on it, else ``missed``."""
        met = value >= self.value if self.at_least else value <= self.value
        return "pass" if met else "missed"


@dataclass(frozen=True)
class Figure:
    """One answer: the median of its samples, in ``unit`` (empty for a ratio).

    ``target`` is what was promised, ``goal`` what it should come to.
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
class Entry:
    """One contender of a contest and its runs."""

    name: str
    runs: tuple[Run, ...]

    def samples(self, measure: str) -> tuple[float, ...]:
        """Return one measure (a field of :class:`Run`) of every run, in order."""
        return tuple(float(getattr(run, measure)) for run in self.runs)

    def median(self, measure: str) -> float:
        """Return the median of one measure."""
        return median(self.samples(measure))


@dataclass(frozen=True)
class Contest:
    """Contenders that took turns at the same list; ratios are to ``against``."""

    name: str
    rows: int
    entries: tuple[Entry, ...]
    against: str

    def entry(self, name: str) -> Entry:
        """Return a contender by name."""
        return next(entry for entry in self.entries if entry.name == name)

    def ratios(self, name: str, against: str | None = None) -> tuple[float, ...]:
        """Return a contender's seconds over another's, round by round."""
        other = self.entry(against or self.against)
        return ratios(self.entry(name).samples("seconds"), other.samples("seconds"))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, ...]:
    """Return the ratios of samples taken in turn: each of its own round.

    A round's two samples met the same weather, which two medians need not have.
    """
    return tuple(over / under for over, under in zip(numerators, denominators, strict=True))


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least ``share`` of all do not exceed."""
    ordered = sorted(samples)
    at = max(0, -(-len(ordered) * share // 1) - 1)
    return ordered[int(at)]
