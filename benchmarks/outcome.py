"""What a part of the suite brings back."""

from dataclasses import dataclass

from benchmarks.figures import Contest, Figure


@dataclass(frozen=True)
class Outcome:
    """Figures to judge, contests to show, both in order."""

    figures: tuple[Figure, ...] = ()
    contests: tuple[Contest, ...] = ()
    curves: tuple[Contest, ...] = ()
    """Contests at growing sizes, for the plot."""

    failure: str = ""
    """Why there is nothing else."""
