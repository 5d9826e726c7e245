"""Chores: all of them, again and again, and soon again after an outage."""

import asyncio

import pytest

from app.errors import DatabaseUnavailable
from tests.waiting import until
from workers import chores as chores_module
from workers.chores import Chore, repeat


class Step:
    """Fails the first times."""

    def __init__(self, *errors: Exception) -> None:
        self.times = 0
        self.outcomes: list[str] = []
        self._errors = list(errors)

    async def __call__(self) -> None:
        self.times += 1
        if self._errors:
            raise self._errors.pop(0)

    def count(self, _: Chore, outcome: str) -> None:
        """Remember what became of a round."""
        self.outcomes.append(outcome)


async def done(step: Step, times: int, every_s: float) -> None:
    """Repeat a step until it was done so often."""
    task = asyncio.create_task(repeat(Chore("a chore", step, every_s), step.count))

    async def is_done() -> bool:
        return step.times >= times or task.done()

    await until(is_done)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_chore_is_repeated() -> None:
    step = Step()
    await done(step, times=3, every_s=0.001)
    assert step.times >= 3


async def test_a_rare_chore_that_an_outage_prevented_is_repeated_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chores_module, "AGAIN_S", 0.001)
    step = Step(DatabaseUnavailable("away"), DatabaseUnavailable("away"))
    await done(step, times=3, every_s=3600)
    assert step.times == 3
    assert step.outcomes == ["put_off", "put_off", "done"]


async def test_a_mistake_ends_the_worker_rather_than_going_unseen() -> None:
    with pytest.raises(ZeroDivisionError):
        step = Step(ZeroDivisionError())
        await repeat(Chore("broken", step, 0.001), step.count)
