"""Durations in buckets: quantiles within one per cent, however they were added up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from app.database.database import Database
from app.statistics.duration_sketch import (
    BUCKET,
    ERROR,
    SHORTEST_S,
    DurationSketch,
    bucket_of,
    sketch_of,
)

LENGTHS = st.lists(st.floats(min_value=SHORTEST_S, max_value=1e6), min_size=1)


@given(st.lists(LENGTHS, min_size=1), st.floats(min_value=0, max_value=1))
def test_a_quantile_of_any_sum_is_right_within_one_per_cent(
    days: list[list[float]], share: float
) -> None:
    together = DurationSketch.merged(map(sketch_of, days))
    lengths = sorted(length for day in days for length in day)
    exact = lengths[max(1, math.ceil(share * len(lengths))) - 1]
    assert together.quantile_s(share) == pytest.approx(exact, rel=ERROR * 1.000001)
    assert ERROR < 0.01
    assert together.mean_s == pytest.approx(sum(lengths) / len(lengths))


def test_of_nothing_there_is_no_figure() -> None:
    nothing = DurationSketch()
    assert (nothing.count, nothing.mean_s, nothing.quantile_s(0.5)) == (0, None, None)


def test_what_is_shorter_than_a_millisecond_counts_as_one() -> None:
    for length_s in (-1.0, 0.0, 1e-9, SHORTEST_S):
        assert bucket_of(length_s) == bucket_of(SHORTEST_S)


def test_every_duration_falls_between_two_edges() -> None:
    durations = sketch_of([0.0005, 0.05, 0.5, 0.6, 5, 50])
    assert durations.histogram([0.01, 0.1, 1, 10]) == [2, 2, 2]


async def test_the_database_uses_the_same_buckets(database: Database) -> None:
    lengths = [-1.0, 0.0, 0.001, 0.0017, 0.1, 0.99, 1.0, 1.5, 59.3, 3600.1, 86_399.9]
    query = f"SELECT {BUCKET} FROM unnest(CAST(:lengths AS float[])) AS seconds"
    async with database.engine.connect() as connection:
        rows = await connection.execute(text(query), {"lengths": lengths})
        assert list(rows.scalars()) == list(map(bucket_of, lengths))
