"""Lanes: which export goes where, and whose turn it is."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from app.config import Settings
from app.database import Connection
from app.exports.exporter import Exporter
from app.exports.lanes import SMALL_ROWS, TURN_S, lane_of, lane_places
from app.exports.sweep import Sweep
from app.models import Export
from tests.fakes import MemoryQueue

Ask = Callable[..., Awaitable[Export]]


def test_what_fits_one_part_is_small() -> None:
    assert [lane_of(rows) for rows in (0, SMALL_ROWS, SMALL_ROWS + 1)] == [
        "small",
        "small",
        "large",
    ]


def test_an_export_of_unknown_size_holds_up_no_small_one() -> None:
    assert lane_of(None) == "large"


@pytest.mark.parametrize(
    ("places", "large", "expected"),
    [(8, 1, (7, 1)), (8, 20, (1, 7)), (2, 1, (1, 1)), (1, 1, (1, 1))],
)
def test_large_exports_leave_a_place_to_small_ones(
    settings: Settings, places: int, large: int, expected: tuple[int, int]
) -> None:
    chosen = settings.model_copy(update={"worker_concurrency": places, "large_exports": large})
    assert lane_places(chosen) == dict(zip(("small", "large"), expected, strict=True))


async def test_an_export_waits_behind_those_who_have_fewer(
    ask: Ask, connection: Connection
) -> None:
    for number in range(3):
        await ask(recipient_email=f"{number}@x.co")
    turns = await connection.fetch("SELECT turn_at - created_at AS back FROM exports ORDER BY id")
    assert [round(row["back"] / timedelta(seconds=TURN_S), 2) for row in turns] == [0, 1, 2]


async def test_turns_are_taken_in_order_and_each_once(ask: Ask, exporter: Exporter) -> None:
    first, second = [await ask(recipient_email=f"{number}@x.co") for number in range(2)]
    other = await ask(seller_id=2)
    claimed = [await exporter.claim_next("small") for _ in range(4)]
    assert [each and each.id for each in claimed] == [first.id, other.id, second.id, None]


async def test_many_workers_take_each_export_once(ask: Ask, exporter: Exporter) -> None:
    waiting = {(await ask(seller_id=seller_id)).id for seller_id in range(1, 7)}
    claimed = await asyncio.gather(*(exporter.claim_next("small") for _ in range(9)))
    taken = [each.id for each in claimed if each is not None]
    assert sorted(taken) == sorted(waiting)


async def test_lanes_do_not_take_from_each_other(
    ask: Ask, exporter: Exporter, connection: Connection
) -> None:
    await ask()
    await connection.execute("UPDATE exports SET lane = 'large'")
    assert await exporter.claim_next("small") is None
    assert await exporter.claim_next("large") is not None


async def test_what_is_not_due_yet_holds_up_nobody(
    ask: Ask, exporter: Exporter, connection: Connection
) -> None:
    await ask()
    await connection.execute("UPDATE exports SET due_at = due_at + interval '1 minute'")
    due = await ask(seller_id=2)
    taken = await exporter.claim_next("small")
    assert taken is not None
    assert taken.id == due.id
    assert await exporter.claim_next("small") is None


async def test_the_sweep_rings_in_the_large_lane_however_many_small_ones_wait(
    ask: Ask,
    sweep: Sweep,
    queue: MemoryQueue,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.exports.sweep.BATCH", 2)
    for seller_id in range(1, 5):
        last = await ask(seller_id=seller_id)
    await connection.execute("UPDATE exports SET lane = 'large' WHERE seller_id = 4")
    assert await sweep.ring_for_waiting() == 3
    assert (4, last.id, 0) in queue.rings
