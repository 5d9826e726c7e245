"""Targets, met or missed by how much."""

from benchmarks.registry import PARTS
from benchmarks.reporting.figures import Bound, Figure
from benchmarks.reporting.targets import PEAK_MEMORY, TARGETS
from benchmarks.reporting.verdicts import outcome, verdicts


def test_a_target_is_met_on_its_bound() -> None:
    assert outcome(Bound(0.85), 0.85) == "pass"


def test_what_is_missed_is_reported_in_shares_of_the_bound() -> None:
    assert outcome(Bound(150), 165) == "missed by 10 %"
    assert outcome(Bound(1), 2.7) == "missed by 170 %"
    assert outcome(Bound(100_000, at_least=True), 98_000) == "missed by 2 %"


def test_one_promise_is_answered_for_every_size_it_was_measured_at() -> None:
    figures = [Figure(name, (140,), "MB", goal=PEAK_MEMORY) for name in ("smaller", "larger")]

    named = [each.name for each in verdicts(figures) if each.target is PEAK_MEMORY]

    assert named == ["smaller", "larger"]


def test_two_equal_bounds_are_two_promises() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def test_every_promise_is_the_goal_of_some_part() -> None:
    named = [value for run in PARTS.values() for value in run.__globals__.values()]

    assert set(TARGETS) <= {value for value in named if isinstance(value, Bound)}
