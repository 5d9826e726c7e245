"""Durations, kept as counts in buckets that any two sets of them can be added by.

Bucket ``b`` holds what is longer than ``GROWTH ** (b - 1)`` seconds and no
longer than ``GROWTH ** b``. A quantile is read off the bucket that holds it and
is wrong by at most one per cent, however many days are added up: this is
DDSketch (Masson, Rim, Lee, 2019) with a bucket for each power. What is shorter
than a millisecond counts as one.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

GROWTH = 1.02
ERROR = (GROWTH - 1) / (GROWTH + 1)
"""The largest relative error of a quantile of a millisecond or more."""

SHORTEST_S = 0.001

BUCKET = f"ceil(ln(greatest(seconds, {SHORTEST_S})) / ln({GROWTH}::float))::integer"
"""The bucket of a column ``seconds``, in SQL."""


@dataclass
class Durations:
    """How many durations fell into each bucket, and their sum in seconds."""

    buckets: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, bucket: int, count: int, seconds: float) -> None:
        """Add ``count`` durations of one bucket that are ``seconds`` long together."""
        self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.seconds += seconds

    @classmethod
    def together(cls, several: Iterable[Self]) -> Self:
        """Return the sum of several sets."""
        sum_ = cls()
        for each in several:
            for bucket, count in each.buckets.items():
                sum_.add(bucket, count, 0.0)
            sum_.seconds += each.seconds
        return sum_

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.buckets.values())

    @property
    def mean_s(self) -> float | None:
        """Their exact mean, ``None`` of none."""
        return self.seconds / self.count if self.buckets else None

    def quantile_s(self, share: float) -> float | None:
        """Return the shortest duration that ``share`` of all do not exceed, within ``ERROR``.

        ``None`` of none.
        """
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for bucket, count in sorted(self.buckets.items()):
            seen += count
            if seen >= rank:
                return middle_s(bucket)
        return None

    def between(self, edges_s: Iterable[float]) -> list[int]:
        """Return how many are longer than each edge and no longer than the next."""
        edges = list(edges_s)
        counts = [0] * (len(edges) - 1)
        for bucket, count in self.buckets.items():
            length_s = min(max(middle_s(bucket), edges[0] * 1.0001), edges[-1])
            place = next(i for i, edge in enumerate(edges[1:]) if length_s <= edge)
            counts[place] += count
        return counts


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration."""
    return math.ceil(math.log(max(seconds, SHORTEST_S)) / math.log(GROWTH))


def middle_s(bucket: int) -> float:
    """Return the duration that is nearest, relatively, to all of a bucket."""
    upper_s: float = GROWTH**bucket
    return 2 * upper_s / (1 + GROWTH)


def durations_of(lengths_s: Iterable[float]) -> Durations:
    """Return the set of some durations in seconds."""
    durations = Durations()
    for length_s in lengths_s:
        durations.add(bucket_of(length_s), 1, length_s)
    return durations
