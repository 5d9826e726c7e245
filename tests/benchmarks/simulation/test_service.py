"""The simulated service, with times that can be computed by hand."""

import pytest

from benchmarks.simulation.scenarios import MEASURED_RATES, burst_rate, peak_requests
from benchmarks.simulation.service import RANGE_ROWS, Costs, Fleet, Request, simulate

COSTS = Costs(small_loop=1.0, small_cores=0.0, row_loop=1 / RANGE_ROWS, row_cores=0.0)
SMALL = Request(0.0)
FOUR_RANGES = Request(0.0, rows=4 * RANGE_ROWS)


def test_a_worker_takes_the_sum_of_the_times_on_its_loop() -> None:
    outcome = simulate([SMALL] * 6, Fleet(workers=1, cores=9), COSTS)
    assert outcome.small_s == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_workers_share_what_waits_and_their_cores_limit_them() -> None:
    assert simulate([SMALL] * 6, Fleet(workers=3, cores=1), COSTS).ended_at == 2.0
    shared = Fleet(workers=3, cores=1, shares_cores=True)
    assert simulate([SMALL] * 6, shared, COSTS).ended_at == 6.0


def test_a_large_export_gives_way_to_small_ones_of_its_worker() -> None:
    outcome = simulate([FOUR_RANGES, *[SMALL] * 3], Fleet(workers=1, cores=9), COSTS)
    assert outcome.small_s == [2.0, 3.0, 4.0]  # behind the range that was on the loop already
    assert outcome.large_s == [7.0]


def test_a_large_export_leaves_the_slots_of_small_ones_free() -> None:
    fleet = Fleet(workers=1, cores=9, small_slots=1)
    outcome = simulate([FOUR_RANGES, FOUR_RANGES, SMALL], fleet, COSTS)
    assert outcome.small_s == [2.0]
    assert sorted(outcome.large_s) == [5.0, 9.0]


def test_what_comes_while_too_many_wait_is_refused() -> None:
    fleet = Fleet(workers=1, cores=9, queued_max=2)
    late = Request(at=20.0)
    outcome = simulate([SMALL] * 5 + [late], fleet, COSTS, workers_start_at=10.0)
    assert outcome.refused == 3
    assert outcome.small_s == [11.0, 12.0, 1.0]
    assert outcome.drained_at == 10.0  # both have a slot


def test_requests_are_the_same_for_a_seed_and_as_many_as_the_rate_says() -> None:
    requests = peak_requests(600.0)
    assert requests == peak_requests(600.0)
    assert requests != peak_requests(600.0, seed=1)
    assert len(requests) == pytest.approx(1_000_000 / 6 / 6, rel=0.05)
    assert sum(each.rows > 0 for each in requests) == pytest.approx(len(requests) / 100, rel=0.3)


@pytest.mark.parametrize("workers", MEASURED_RATES)
def test_the_simulation_is_within_a_quarter_of_what_was_measured(workers: int) -> None:
    assert burst_rate(workers) == pytest.approx(MEASURED_RATES[workers], rel=0.25)
