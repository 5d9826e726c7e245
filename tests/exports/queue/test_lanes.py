"""Lanes: which export goes where, and whose turn it is."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from app.config import Settings
from app.database.connections import Connection
from app.exports.execution.exporter import Exporter
from app.exports.queue.lanes import FAIRNESS_DELAY_S, LANES, SMALL_ROWS, choose_lane, slots_per_lane
from app.models import Export
from app.ports import Lane
from tests.polling import HANGS_S

Ask = Callable[..., Awaitable[Export]]


def test_what_fits_one_part_is_small() -> None:
    assert [choose_lane(rows) for rows in (0, SMALL_ROWS, SMALL_ROWS + 1)] == [
        "small",
        "small",
        "large",
    ]


def test_an_export_of_unknown_size_holds_up_no_small_one() -> None:
    assert choose_lane(None) == "large"


@pytest.mark.parametrize(
    ("places", "large", "expected"),
    [(8, 1, (7, 1)), (8, 20, (1, 7)), (2, 1, (1, 1)), (1, 1, (1, 1))],
)
def test_large_exports_leave_a_place_to_small_ones(
    settings: Settings, places: int, large: int, expected: tuple[int, int]
) -> None:
    chosen = settings.model_copy(
        update={"worker_concurrency": places, "large_export_concurrency": large}
    )
    assert slots_per_lane(chosen) == dict(zip(("small", "large"), expected, strict=True))


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        (("small",), {"small": 4}),
        (("large",), {"large": 2}),
        (("small", "large"), {"small": 2, "large": 2}),
    ],
)
def test_a_worker_has_slots_for_its_lanes_only(
    settings: Settings, lanes: tuple[Lane, ...], expected: dict[Lane, int]
) -> None:
    update = {"worker_lanes": lanes, "worker_concurrency": 4, "large_export_concurrency": 2}
    assert slots_per_lane(settings.model_copy(update=update)) == expected


async def test_an_export_waits_behind_those_who_have_fewer(
    create_export: Ask, connection: Connection
) -> None:
    for number in range(3):
        await create_export(recipient_email=f"{number}@x.co")
    turns = await connection.fetch(
        "SELECT queue_order_at - created_at AS back FROM exports ORDER BY id"
    )
    assert [round(row["back"] / timedelta(seconds=FAIRNESS_DELAY_S), 2) for row in turns] == [
        0,
        1,
        2,
    ]


async def test_turns_are_taken_in_order_and_each_once(
    create_export: Ask, exporter: Exporter
) -> None:
    first, second = [await create_export(recipient_email=f"{number}@x.co") for number in range(2)]
    other = await create_export(seller_id=2)
    claimed = [await exporter.claim_next("small") for _ in range(4)]
    assert [each and each.id for each in claimed] == [first.id, other.id, second.id, None]


async def test_many_workers_take_each_export_once(create_export: Ask, exporter: Exporter) -> None:
    waiting = {(await create_export(seller_id=seller_id)).id for seller_id in range(1, 7)}
    claimed = await asyncio.gather(*(exporter.claim_next("small") for _ in range(9)))
    taken = [each.id for each in claimed if each is not None]
    assert sorted(taken) == sorted(waiting)


async def test_one_that_is_locked_at_the_moment_is_skipped(
    create_export: Ask, exporter: Exporter, connection: Connection
) -> None:
    locked, free = [await create_export(seller_id=seller_id) for seller_id in (1, 2)]
    async with connection.transaction():
        await connection.execute("SELECT FROM exports WHERE seller_id = 1 FOR UPDATE")
        async with asyncio.timeout(HANGS_S):
            claimed = [await exporter.claim_next("small") for _ in range(2)]
        assert [each and each.id for each in claimed] == [free.id, None]
    claimed_later = await exporter.claim_next("small")
    assert claimed_later is not None
    assert claimed_later.id == locked.id


async def test_lanes_do_not_take_from_each_other(
    create_export: Ask, exporter: Exporter, connection: Connection
) -> None:
    await create_export()
    await connection.execute("UPDATE exports SET lane = 'large'")
    assert await exporter.claim_next("small") is None
    assert await exporter.claim_next("large") is not None


async def test_what_is_not_due_yet_holds_up_nobody(
    create_export: Ask, exporter: Exporter, connection: Connection
) -> None:
    await create_export()
    await connection.execute("UPDATE exports SET due_at = due_at + interval '1 minute'")
    due = await create_export(seller_id=2)
    taken = await exporter.claim_next("small")
    assert taken is not None
    assert taken.id == due.id
    assert await exporter.claim_next("small") is None


async def test_only_lanes_in_which_something_due_waits_are_told_of(
    create_export: Ask, exporter: Exporter, connection: Connection
) -> None:
    assert await exporter.waiting_lanes(LANES) == []
    await create_export()
    await connection.execute("UPDATE exports SET due_at = due_at + interval '1 minute'")
    assert await exporter.waiting_lanes(LANES) == []
    await create_export(seller_id=2)
    assert await exporter.waiting_lanes(LANES) == ["small"]
    await connection.execute("UPDATE exports SET lane = 'large' WHERE seller_id = 2")
    assert await exporter.waiting_lanes(LANES) == ["large"]
    assert await exporter.waiting_lanes(["small"]) == []
