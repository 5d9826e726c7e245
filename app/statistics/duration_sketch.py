"""DDSketch (Masson, Rim, Lee, 2019): a mergeable sketch of durations with accurate quantiles.

Bucket ``b`` counts durations longer than ``GROWTH ** (b - 1)`` seconds and no
longer than ``GROWTH ** b``. A quantile is taken from the bucket that holds it, so
its error is at most one per cent, however many days are merged. Durations below
a millisecond count as a millisecond.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

# Never changed: export_durations stores the numbers of these buckets.
GROWTH = 1.02
ERROR = (GROWTH - 1) / (GROWTH + 1)
"""The largest relative error of a quantile of a millisecond or more."""

SHORTEST_S = 0.001

BUCKET = f"ceil(ln(greatest(seconds, {SHORTEST_S})) / ln({GROWTH}::float))::integer"
"""The SQL expression for the bucket of a column ``seconds``; :func:`bucket_of` is its equal."""


@dataclass
class DurationSketch:
    """A sketch: the number of durations in each bucket, and their exact sum in seconds."""

    buckets: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, bucket: int, count: int, seconds: float) -> None:
        """Add ``count`` durations of one bucket; ``seconds`` is their sum."""
        self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.seconds += seconds

    @classmethod
    def merged(cls, several: Iterable[Self]) -> Self:
        """Return one sketch of the durations of several."""
        merged = cls()
        for each in several:
            for bucket, count in each.buckets.items():
                merged.add(bucket, count, 0.0)
            merged.seconds += each.seconds
        return merged

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.buckets.values())

    @property
    def mean_s(self) -> float | None:
        """The exact mean, ``None`` without durations."""
        return self.seconds / self.count if self.buckets else None

    def quantile_s(self, share: float) -> float | None:
        """Return a quantile in seconds, within a relative error of :data:`ERROR`.

        ``share`` is from 0 to 1: 0.5 is the median. ``None`` without durations.
        """
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket, count in sorted(self.buckets.items()):
            seen += count
            if seen >= rank:
                return bucket_midpoint_s(bucket)
        return None

    def histogram(self, edges_s: Iterable[float]) -> list[int]:
        """Return the number of durations between each edge (excluded) and the next (included).

        ``edges_s`` ascend; durations beyond the first or last edge count in the bin next to it.
        """
        edges = list(edges_s)
        counts = [0] * (len(edges) - 1)
        for bucket, count in self.buckets.items():
            length_s = min(max(bucket_midpoint_s(bucket), edges[0] * 1.0001), edges[-1])
            number = next(i for i, edge in enumerate(edges[1:]) if length_s <= edge)
            counts[number] += count
        return counts


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration."""
    return math.ceil(math.log(max(seconds, SHORTEST_S)) / math.log(GROWTH))


def bucket_midpoint_s(bucket: int) -> float:
    """Return the duration with the smallest relative error for all durations of a bucket."""
    upper_s: float = GROWTH**bucket
    return 2 * upper_s / (1 + GROWTH)


def sketch_of(lengths_s: Iterable[float]) -> DurationSketch:
    """Return the sketch of durations in seconds."""
    durations = DurationSketch()
    for length_s in lengths_s:
        durations.add(bucket_of(length_s), 1, length_s)
    return durations
