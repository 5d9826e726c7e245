"""Waiting before another try, and retrying."""

import pytest

from app.errors import DatabaseUnavailable, LeaseLost, TemporaryError
from app.retry import PAUSE_S, full_jitter, retry_until


class Change:
    """Fails some times before it is done."""

    def __init__(self, error: Exception, times: int) -> None:
        self.tries = 0
        self._error = error
        self._times = times

    async def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self._times:
            raise self._error
        return "done"


AWAY = DatabaseUnavailable("The database cannot be reached.")


@pytest.mark.parametrize(("tries", "bound_s"), [(1, 2), (2, 4), (3, 8), (4, 10), (5000, 10)])
def test_waits_are_spread_up_to_a_bound_that_doubles(tries: int, bound_s: float) -> None:
    waits = [full_jitter(2, 10, tries) for _ in range(500)]
    assert 0 <= min(waits) < 0.1 * bound_s
    assert 0.9 * bound_s < max(waits) <= bound_s


async def test_what_fails_for_a_while_is_done_in_the_end() -> None:
    change = Change(AWAY, times=1)
    assert await retry_until(change, 60) == "done"
    assert change.tries == 2


async def test_retrying_ends() -> None:
    change = Change(AWAY, times=99)
    with pytest.raises(TemporaryError):
        await retry_until(change, PAUSE_S)
    assert 1 <= change.tries <= 2


async def test_what_cannot_help_is_not_repeated() -> None:
    change = Change(LeaseLost("gone"), times=1)
    with pytest.raises(LeaseLost):
        await retry_until(change, 60)
    assert change.tries == 1
