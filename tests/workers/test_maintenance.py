"""Periodic tasks: all of them, again and again, and soon again after an outage."""

import asyncio

import pytest
from structlog.testing import capture_logs

from app.errors import DatabaseUnavailable
from app.observability.limited_warnings import REASONS_MAX
from app.observability.metrics import Metrics
from tests.polling import until
from workers import maintenance as maintenance_module
from workers.maintenance import PeriodicTask, record_run, run_periodically


class Step:
    """Fails the first times."""

    def __init__(self, *errors: BaseException) -> None:
        self.times = 0
        self.outcomes: list[str] = []
        self._errors = list(errors)

    async def __call__(self) -> None:
        self.times += 1
        if self._errors:
            raise self._errors.pop(0)

    def count(self, _: PeriodicTask, outcome: str) -> None:
        """Remember what became of a round."""
        self.outcomes.append(outcome)


async def done(step: Step, times: int, every_s: float) -> None:
    """Repeat a step until it was done so often."""
    task = asyncio.create_task(run_periodically(PeriodicTask("a task", step, every_s), step.count))

    async def is_done() -> bool:
        return step.times >= times or task.done()

    await until(is_done)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_periodic_task_is_repeated() -> None:
    step = Step()
    await done(step, times=3, every_s=0.001)
    assert step.times >= 3


async def test_a_rare_periodic_task_that_an_outage_prevented_is_repeated_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintenance_module, "MAX_RETRY_DELAY_S", 0.001)
    step = Step(DatabaseUnavailable("away"), DatabaseUnavailable("away"))
    await done(step, times=3, every_s=3600)
    assert step.times == 3
    assert step.outcomes == ["deferred", "deferred", "succeeded"]


async def test_an_outage_is_logged_once_a_minute_for_each_task() -> None:
    step = Step(*[DatabaseUnavailable("away")] * 5)
    with capture_logs() as lines:
        await done(step, times=6, every_s=0.001)
    (line,) = (line for line in lines if line["event"] == "periodic task deferred")
    assert (line["task"], line["reason"]) == ("a task", "away")


async def test_another_reason_is_logged_at_once() -> None:
    step = Step(*[DatabaseUnavailable("ended"), DatabaseUnavailable("shut")] * 3)
    with capture_logs() as lines:
        await done(step, times=7, every_s=0.001)
    assert [line["reason"] for line in lines] == ["ended", "shut"]


async def test_reasons_that_differ_each_time_are_soon_counted_as_one() -> None:
    step = Step(*[DatabaseUnavailable(f"session {number}") for number in range(100)])
    with capture_logs() as lines:
        await done(step, times=101, every_s=0.001)
    assert len(lines) == REASONS_MAX + 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), asyncio.CancelledError()])
async def test_an_unexpected_error_is_retried_and_ends_nothing(error: BaseException) -> None:
    step = Step(error, error)
    await done(step, times=3, every_s=0.001)
    assert step.outcomes[:3] == ["failed", "failed", "succeeded"]


async def test_what_goes_on_failing_is_tried_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise EOFError

    monkeypatch.setattr(asyncio, "sleep", pause)
    step = Step(*[ZeroDivisionError()] * 7)
    with pytest.raises(EOFError):
        await run_periodically(PeriodicTask("broken", step, 1), step.count)
    for paused_s, expected_s in zip(pauses, [2, 4, 8, 16, 30, 30, 30, 1], strict=True):
        assert 0.9 * expected_s <= paused_s <= expected_s


async def test_workers_that_start_together_do_not_poll_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        raise EOFError

    monkeypatch.setattr(asyncio, "sleep", pause)
    step = Step()
    for _ in range(20):
        with pytest.raises(EOFError):
            await run_periodically(PeriodicTask("a task", step, 5, is_spread=True), step.count)
    assert step.times == 0
    assert 0 <= min(pauses) < max(pauses) <= 5
    assert len(set(pauses)) == 20


async def test_a_failure_is_counted_and_is_no_sign_of_life() -> None:
    metrics = Metrics()
    heartbeat = metrics.worker_heartbeat()
    record_run(metrics, heartbeat, PeriodicTask("broken", Step(), 1), "failed")
    labels = {"task": "broken", "outcome": "failed"}
    value = metrics.registry.get_sample_value
    assert value("audience_export_periodic_task_runs_total", labels) == 1
    where = {"component": "periodic task"}
    assert value("audience_export_unexpected_errors_total", where) == 1
    assert value("audience_export_worker_heartbeat_timestamp_seconds") == 0
