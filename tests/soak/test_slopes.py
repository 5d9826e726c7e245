"""A leak is found in spite of noise and outages; noise, steps and outages are no leak."""

import random

import pytest

from tests.soak.slopes import Points, Series, slope_of, theil_sen

SAMPLES = 360
EVERY_S = 10
WARM_UP_S = 1200


def sampled(
    per_hour: float = 0, noise: float = 5, outages: float = 0.0, level: float = 100
) -> Points:
    """Return an hour's samples around a line; in an outage the value is tenfold."""
    dice = random.Random(7)
    times = [number * EVERY_S for number in range(SAMPLES)]
    values = [level + per_hour * time / 3600 + dice.uniform(-noise, noise) for time in times]
    struck = set(dice.sample(range(SAMPLES), int(SAMPLES * outages)))
    values = [value * 10 if n in struck else value for n, value in enumerate(values)]
    return list(zip(map(float, times), values, strict=True))


def is_leak(points: Points, tolerance: float = 4) -> bool:
    """Return the verdict on a series."""
    return slope_of(Series("api", "memory", points), lambda _: tolerance, WARM_UP_S).is_leak


def test_the_slope_of_a_line_is_exact() -> None:
    assert theil_sen([(0, 1), (10, 3), (40, 9)]) == pytest.approx(0.2)


@pytest.mark.parametrize("outages", [0, 0.2])
def test_a_leak_is_found_in_noise_and_between_outages(outages: float) -> None:
    assert is_leak(sampled(per_hour=8, outages=outages))


@pytest.mark.parametrize("outages", [0, 0.2])
def test_noise_and_outages_are_no_leak(outages: float) -> None:
    assert not is_leak(sampled(outages=outages))


def test_what_shrinks_is_no_leak() -> None:
    assert not is_leak(sampled(per_hour=-50))


def test_growth_within_the_warm_up_is_no_leak() -> None:
    growing = [(time, min(value * time, value * WARM_UP_S)) for time, value in sampled(noise=0)]
    assert not is_leak(growing)


def test_a_step_that_stays_is_no_leak() -> None:
    step = [(time, value + (10 if time > 2900 else 0)) for time, value in sampled(noise=0)]
    assert not is_leak(step)


def test_a_connection_lost_every_ten_minutes_is_a_leak() -> None:
    lost = [(time, 5 + time // 600) for time, _ in sampled()]
    assert is_leak(lost, tolerance=2)


def test_a_series_without_samples_has_no_verdict() -> None:
    with pytest.raises(ValueError, match="api, memory: too few samples"):
        is_leak([(0, 1), (10, 1)])
