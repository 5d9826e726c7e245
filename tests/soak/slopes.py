"""Robust slopes: whether a series of samples grows over time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

HOUR_S = 3600

Points = Sequence[tuple[float, float]]
"""Samples of one series, oldest first: seconds since the start, and the value."""


@dataclass(frozen=True)
class Series:
    """What was sampled of one subject: a process, ``PostgreSQL``, ``Redis`` or ``bucket``."""

    subject: str
    measure: str
    points: Points


@dataclass(frozen=True)
class Slope:
    """How much a series grows in an hour.

    Attributes:
        level: the median of the samples after the warm-up.
        per_hour: the Theil-Sen slope of these samples, extrapolated to an hour.
        tolerance: how much growth in an hour is no leak.
    """

    subject: str
    measure: str
    level: float
    per_hour: float
    tolerance: float

    @property
    def is_leak(self) -> bool:
        """Whether the series grows by more than the tolerance."""
        return self.per_hour > self.tolerance


def theil_sen(points: Points) -> float:
    """Return the median of the slopes between all pairs of points, per second.

    Outliers of up to 29 % of the points do not move it: an outage is no slope. Fewer than two
    points have the slope 0.
    """
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for earlier, later in combinations(points, 2)
    ]
    return median(slopes) if slopes else 0.0


def slope_of(series: Series, tolerance: Callable[[float], float], warm_up_s: float) -> Slope:
    """Return the slope of a series after the warm-up; ``tolerance`` depends on its level.

    Raises:
        ValueError: there are no samples after the warm-up, so that nothing can be said.
    """
    points = [point for point in series.points if point[0] >= warm_up_s]
    if len(points) < 2:
        raise ValueError(f"{series.subject}, {series.measure}: too few samples")
    level = median(value for _, value in points)
    per_hour = theil_sen(points) * HOUR_S
    return Slope(series.subject, series.measure, level, per_hour, tolerance(level))
