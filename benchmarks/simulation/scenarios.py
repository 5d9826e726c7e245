"""What is asked of the simulation, and the measurements that it is checked against."""

import random

from benchmarks.reporting.figures import Figure, quantile
from benchmarks.simulation.service import Costs, Fleet, Outcome, Request, simulate

BURST = 3_000
"""Small exports of the measured burst."""

MEASURED_RATES = {1: 166.0, 2: 237.0, 4: 554.0, 8: 1_021.0, 12: 920.0}
"""Exports mailed a second by this many worker processes: 16 cores, on which all servers and the
sender of the requests ran too, 26 November 2026."""

MEASURED_CORES = 16

COSTS = Costs(
    # Fitted to the rates above: the loop to those of 1 to 4 workers, which it limits, and the
    # cores to those of 8 and 12, which use all 16.
    small_loop=0.0068,
    small_cores=0.0097,
    # 10 million rows, two streams, on the same machine: 2.8 s of the worker's processor time. One
    # stream takes 5.8 s at 0.89 of psql, whose time is a core's.
    row_loop=2.8 / 10_000_000,
    row_cores=5.8 / 0.89 / 10_000_000,
)
"""Measured, or fitted to what was measured. Everything outside of the worker's loop counts as the
database's: the API, the store and the sender too. So the database is busier here than in fact."""

DAY_EXPORTS = 1_000_000
PEAK_SHARE = 1 / 6
LARGE_SHARE = 0.01
LARGE_ROWS = 1_000_000
"""Assumptions about a day: a sixth of it in its busiest hour, one export in a hundred is large."""

HOUR_S = 3_600.0
AFTER_S = 400.0
SEED = 20_261_127
TAIL = 0.95
UNBOUNDED = 10**9


def burst_rate(workers: int) -> float:
    """Return how many exports of the measured burst end in a second."""
    fleet = Fleet(workers, MEASURED_CORES, shares_cores=True)
    outcome = simulate([Request(0.0)] * BURST, fleet, COSTS)
    return BURST / outcome.ended_at


def peak_requests(seconds: float, seed: int = SEED) -> list[Request]:
    """Return the requests of a part of the busiest hour, at random times (a Poisson process)."""
    dice = random.Random(seed)
    rate = DAY_EXPORTS * PEAK_SHARE / HOUR_S
    requests: list[Request] = []
    at = dice.expovariate(rate)
    while at < seconds:
        rows = LARGE_ROWS if dice.random() < LARGE_SHARE else 0
        requests.append(Request(at, rows))
        at += dice.expovariate(rate)
    return requests


def peak(workers: int, seconds: float = 600.0) -> Outcome:
    """Return what becomes of ten minutes of the busiest hour."""
    return simulate(peak_requests(seconds), Fleet(workers, MEASURED_CORES), COSTS)


def outage(workers: int, queued_max: int) -> Outcome:
    """Return what becomes of requests when no worker runs for the busiest hour.

    They go on at the same rate after it.
    """
    fleet = Fleet(workers, MEASURED_CORES, queued_max=queued_max)
    requests = peak_requests(HOUR_S + AFTER_S)
    return simulate(requests, fleet, COSTS, workers_start_at=HOUR_S)


def figures() -> tuple[Figure, ...]:
    """Return every simulated figure that docs/scaling.md has; they are the same each time."""
    return (*quick_figures(), *_outages(UNBOUNDED))


def quick_figures() -> tuple[Figure, ...]:
    """Return those that take a few seconds together."""
    return (*_check(), *_bursts(), *_peaks(), *_outages(Fleet.queued_max))


def _check() -> list[Figure]:
    rates = {workers: burst_rate(workers) for workers in MEASURED_RATES}
    return [
        figure
        for workers, rate in rates.items()
        for figure in (
            Figure(f"{_workers(workers)}, 16 shared cores", (rate,), "/s"),
            Figure(
                f"{_workers(workers)}, 16 shared cores, over measured",
                (rate / MEASURED_RATES[workers],),
            ),
        )
    ]


def _bursts() -> list[Figure]:
    """The burst with each worker on a core elsewhere."""
    rates = {}
    for workers in (8, 100):
        outcome = simulate([Request(0.0)] * BURST, Fleet(workers, MEASURED_CORES), COSTS)
        rates[workers] = BURST / outcome.ended_at
    return [
        Figure(f"{_workers(workers)} elsewhere, burst of small exports", (rate,), "/s")
        for workers, rate in rates.items()
    ]


def _peaks() -> list[Figure]:
    made = []
    for workers in (2, 8, 100):
        outcome = peak(workers)
        name = f"a million a day, busiest hour, {_workers(workers)}"
        made += [
            Figure(f"{name}: small, p95", (quantile(outcome.small_s, TAIL),), "s"),
            Figure(f"{name}: large, p95", (quantile(outcome.large_s, TAIL),), "s"),
        ]
    return made


def _outages(queued_max: int) -> list[Figure]:
    limit = "no limit" if queued_max == UNBOUNDED else f"{queued_max:,} queued at most"
    made = []
    for workers in (8, 100):
        outcome = outage(workers, queued_max)
        assert outcome.drained_at is not None
        name = f"outage of an hour, {limit}, {_workers(workers)}"
        if queued_max != UNBOUNDED:
            made.append(Figure(f"{name}: refused", (float(outcome.refused),)))
        drained_s = outcome.drained_at - HOUR_S
        made.append(Figure(f"{name}: nothing waits after", (drained_s,), "s"))
    return made


def _workers(number: int) -> str:
    return f"{number} worker" if number == 1 else f"{number} workers"
