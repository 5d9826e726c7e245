"""Unexpected errors: what should never end is run again."""

import asyncio

import pytest

from app.observability import unexpected_errors
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import backoff_s, run_forever
from tests.polling import until


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError(), None])
async def test_what_should_never_end_is_run_again(
    error: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unexpected_errors, "RESTART_MIN_S", 0.001)
    metrics, runs = Metrics(), 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            await asyncio.Event().wait()
        if error is not None:
            raise error

    async def is_third() -> bool:
        return runs == 3

    task = asyncio.create_task(run_forever("consumer", work, metrics))
    await until(is_third)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    counted = metrics.registry.get_sample_value(
        "audience_export_unexpected_errors_total", {"component": "consumer"}
    )
    assert counted == (None if error is None else 2)


def test_a_pause_doubles_up_to_its_limit() -> None:
    assert [backoff_s(1, 30, failures) for failures in (0, 1, 2, 5, 10_000)] == [1, 2, 4, 30, 30]
