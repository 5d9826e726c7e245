"""Medians, ratios and verdicts."""

import pytest

from benchmarks.processes.subprocesses import Measurement
from benchmarks.reporting.figures import (
    Bound,
    Comparison,
    ContenderFigures,
    Figure,
    quantile,
    ratios,
)


def test_a_figure_is_the_median_of_its_samples() -> None:
    assert Figure("", (3, 1, 100)).value == 3
    assert Figure("", (1, 2, 3, 100)).value == 2.5


def test_a_figure_on_its_bound_passes() -> None:
    assert Bound(1.25).verdict(1.25) == "pass"
    assert Bound(80, at_least=True).verdict(80) == "pass"


def test_a_figure_beyond_its_bound_is_missed() -> None:
    assert Bound(1.25).verdict(1.26) == "missed"
    assert Bound(80, at_least=True).verdict(79) == "missed"


def test_a_ratio_is_of_samples_of_one_round() -> None:
    assert ratios([2, 40, 3], [1, 20, 3]) == (2, 2, 1)


def test_samples_of_different_runs_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_a_comparison_compares_round_by_round() -> None:
    psql = ContenderFigures("psql", (Measurement(1, 0, 0), Measurement(10, 0, 0)))
    ours = ContenderFigures("ours", (Measurement(2, 0, 0), Measurement(5, 0, 0)))

    comparison = Comparison("", 1, (psql, ours), against="psql")

    assert comparison.ratios("ours") == (2, 0.5)
    assert comparison.ratios("psql", against="ours") == (0.5, 2)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.95, 10), (0.1, 1), (0, 1), (1, 10)])
def test_a_quantile_is_one_of_the_samples(share: float, expected: int) -> None:
    assert quantile(list(range(10, 0, -1)), share) == expected
