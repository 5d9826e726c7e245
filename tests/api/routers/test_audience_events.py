"""Events over HTTP: what is applied, what is ignored, what is refused as a whole."""

import json
from typing import Any

import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text

from app.api.routers.audience_events import BODY_BYTES_MAX, LINES_MAX, MEDIA_TYPE
from app.feeds.ndjson import LINE_BYTES_MAX
from app.resources import Resources
from tests.api.problem_documents import assert_problem
from tests.hostile import measured_memory
from tests.tokens import bearer, mint, mint_for_service

DAY = "2026-03-01T10:20:30Z"
KIND = {"Content-Type": MEDIA_TYPE}


def follower(key: str = "1", version: int = 1, seller_id: int = 1, **row: Any) -> dict[str, Any]:
    usual = {"email": f"fan{key}@x.co", "created_at": DAY, "confirmed_at": DAY}
    event = {"source": "follower", "key": key, "version": version, "seller_id": seller_id}
    return event | {"row": {name: value for name, value in (usual | row).items() if value != ...}}


def deleted(key: str = "1", version: int = 2, source: str = "follower") -> dict[str, Any]:
    event = {"source": source, "key": key, "version": version, "seller_id": 1}
    return event | {"deleted": True}


def ndjson(*events: Any) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.fixture
def feeder(anonymous: AsyncClient) -> AsyncClient:
    """A client that may write for all sellers."""
    anonymous.headers.update(bearer(mint_for_service(scope="audience:write sellers:all")))
    return anonymous


async def post(client: AsyncClient, *events: Any) -> Response:
    return await client.post("/audience/events", content=ndjson(*events), headers=KIND)


async def applied(client: AsyncClient, *events: Any) -> tuple[int, int]:
    answer = await post(client, *events)
    assert answer.status_code == 200, answer.text
    return answer.json()["applied"], answer.json()["ignored"]


async def rows(resources: Resources, sql: str) -> list[Any]:
    async with resources.database.engine.connect() as connection:
        return list(await connection.execute(text(sql)))


async def emails(resources: Resources) -> list[str]:
    found = await rows(resources, "SELECT email FROM audience_members ORDER BY seller_id, email")
    return [each.email for each in found]


async def test_an_event_is_a_member_at_once(feeder: AsyncClient, resources: Resources) -> None:
    assert await applied(feeder, follower()) == (1, 0)
    assert await emails(resources) == ["fan1@x.co"]


async def test_late_and_repeated_events_are_ignored(
    feeder: AsyncClient, resources: Resources
) -> None:
    await applied(feeder, follower(version=17, email="new@x.co"))
    for late in (follower(version=17), follower(version=3), deleted(version=17)):
        assert await applied(feeder, late) == (0, 1)
    assert await emails(resources) == ["new@x.co"]


async def test_a_delete_leaves_a_tombstone_that_late_events_meet(
    feeder: AsyncClient, resources: Resources
) -> None:
    assert await applied(feeder, follower(version=1), deleted(version=5)) == (2, 0)
    assert await applied(feeder, follower(version=4)) == (0, 1)
    assert await emails(resources) == []
    assert await applied(feeder, follower(version=6)) == (1, 0)
    assert await emails(resources) == ["fan1@x.co"]


async def test_a_delete_may_come_before_what_it_deletes(
    feeder: AsyncClient, resources: Resources
) -> None:
    assert await applied(feeder, deleted(version=2)) == (1, 0)
    assert await applied(feeder, follower(version=1)) == (0, 1)
    assert await rows(resources, "SELECT id FROM followers") == []


async def test_lines_apply_in_their_order(feeder: AsyncClient, resources: Resources) -> None:
    batch = [follower(version=version, email=f"v{version}@x.co") for version in (2, 1, 5, 4, 5, 6)]
    assert await applied(feeder, *batch) == (3, 3)
    assert await emails(resources) == ["v6@x.co"]
    assert await applied(feeder, deleted(version=9), follower(version=8)) == (1, 1)
    assert await emails(resources) == []


async def test_an_upsert_is_the_whole_row(feeder: AsyncClient, resources: Resources) -> None:
    event = {"source": "customer", "key": "o1", "seller_id": 1}
    full = {"email": "ann@x.co", "created_at": DAY, "state": "successful", "can_contact": False}
    short = {name: value for name, value in full.items() if name != "can_contact"}
    await applied(feeder, event | {"version": 1, "row": full})
    assert await emails(resources) == []
    await applied(feeder, event | {"version": 2, "row": short})
    assert await emails(resources) == ["ann@x.co"]
    await applied(feeder, event | {"version": 3, "row": {**short, "can_contact": None}})
    assert await emails(resources) == []
    assert len(await rows(resources, "SELECT id FROM purchases")) == 1


async def test_a_batch_may_hold_every_source(feeder: AsyncClient, resources: Resources) -> None:
    affiliate = {"source": "affiliate", "key": "1", "version": 1, "seller_id": 1}
    purchase = {"source": "customer", "key": "1", "version": 1, "seller_id": 1}
    row = {"email": "fan1@x.co", "created_at": DAY}
    batch = [
        affiliate | {"row": row},
        follower(),
        purchase | {"row": {**row, "state": "successful"}},
    ]
    assert await applied(feeder, *batch) == (3, 0)
    (member,) = await rows(resources, "SELECT * FROM audience_members")
    assert None not in (member.follower_since, member.customer_since, member.affiliate_since)


async def test_a_key_is_another_one_for_another_seller(
    feeder: AsyncClient, resources: Resources
) -> None:
    assert await applied(feeder, follower(seller_id=1), follower(seller_id=2)) == (2, 0)
    assert await applied(feeder, deleted()) == (1, 0)
    assert await rows(resources, "SELECT seller_id FROM audience_members") == [(2,)]


async def test_rows_whose_address_can_never_be_listed_are_counted(
    feeder: AsyncClient, resources: Resources
) -> None:
    events = [follower(), follower(key="lost", email="no address"), deleted(key="gone")]
    answer = await post(feeder, *events)
    assert answer.json() == {"applied": 3, "ignored": 0, "unusable_addresses": 1}
    assert len(await rows(resources, "SELECT id FROM followers")) == 2


async def test_empty_lines_and_an_empty_body_do_nothing(feeder: AsyncClient) -> None:
    assert await applied(feeder) == (0, 0)
    body = b"\r\n" + ndjson(follower()).replace(b"\n", b"\r\n\n")
    answer = await feeder.post("/audience/events", content=body, headers=KIND)
    assert answer.json() == {"applied": 1, "ignored": 0, "unusable_addresses": 0}


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in event.items() if each != name}


NO_TIME = "created_at: is no time such as 2026-11-22T13:54:05Z"

BAD: list[tuple[Any, str]] = [
    ([], "is no JSON object"),
    (without(follower(), "source"), "source: is missing"),
    (without(follower(), "key"), "key: is missing"),
    (without(follower(), "version"), "version: is missing"),
    (without(follower(), "seller_id"), "seller_id: is missing"),
    (without(follower(), "row"), "say either row or deleted"),
    (follower() | {"deleted": True}, "say either row or deleted"),
    (deleted() | {"deleted": False}, "deleted: can only be true"),
    (follower() | {"source": "fan"}, "source: is none of follower, customer, affiliate"),
    (follower() | {"source": {}}, "source: is none of follower, customer, affiliate"),
    (follower() | {"colour": 1}, '"colour": there is no such field'),
    (follower(key=""), "key: is no text of 1 to 255 characters"),
    (follower(key="k" * 256), "key: is no text of 1 to 255 characters"),
    (follower(key="\0"), "key: is no text of 1 to 255 characters"),
    (follower(key="\ud800"), "key: is no text of 1 to 255 characters"),
    (follower() | {"key": 5}, "key: is no text of 1 to 255 characters"),
    (follower() | {"version": "5"}, "version: is no whole number of 64 bits"),
    (follower() | {"version": True}, "version: is no whole number of 64 bits"),
    (follower(version=2**63), "version: is no whole number of 64 bits"),
    (follower(seller_id=0), "seller_id: is no whole number from 1"),
    (follower() | {"row": None}, "row: is no JSON object"),
    (follower(created_at=...), "created_at: is missing"),
    (follower(created_at=None), "row.created_at: is null"),
    (follower(created_at="infinity"), NO_TIME),
    (follower(created_at="2026-02-30"), NO_TIME),
    (follower(created_at=1772360430), "row.created_at: is no text"),
    (follower(email={"a": 1}), "row.email: is no text"),
    (follower(email="a\0@x.co"), "row.email: is no text"),
    (follower(id=5), 'row."id": there is no such column'),
]
"""Events, and the reason that is told of each."""


async def test_a_batch_with_a_bad_line_is_not_applied_at_all(
    feeder: AsyncClient, resources: Resources
) -> None:
    events = [event for event, _ in BAD]
    answer = await post(feeder, follower(), *events)
    assert_problem(answer, 422, "lines_invalid")
    assert answer.json()["lines"] == [
        {"line": number, "reason": reason}
        for number, reason in enumerate([reason for _, reason in BAD], 2)
    ]
    assert await rows(resources, "SELECT id FROM followers") == []


@pytest.mark.parametrize(
    "line",
    [b"{", b"\xff", b'{"source": "follower", "source": "customer"}', b"NaN", b"[" * 60_000],
)
async def test_what_is_not_json_is_a_bad_line(feeder: AsyncClient, line: bytes) -> None:
    body = ndjson(follower()) + line + b"\n" + ndjson(follower("2"))
    answer = await feeder.post("/audience/events", content=body, headers=KIND)
    assert_problem(answer, 422, "lines_invalid")
    (fault,) = answer.json()["lines"]
    assert fault["line"] == 2
    assert fault["reason"].startswith("is not JSON: ")


async def test_the_row_may_repeat_the_lines_seller_only(feeder: AsyncClient) -> None:
    event = follower()
    same, other = ({**event, "row": {**event["row"], "seller_id": seller}} for seller in (1, 2))
    assert await applied(feeder, same) == (1, 0)
    answer = await post(feeder, other)
    reason = "row.seller_id: is another seller than the line's"
    assert answer.json()["lines"] == [{"line": 1, "reason": reason}]


async def test_a_sellers_token_writes_for_that_seller_only(
    anonymous: AsyncClient, resources: Resources
) -> None:
    anonymous.headers.update(bearer(mint(scope="audience:write")))
    assert await applied(anonymous, follower(seller_id=1)) == (1, 0)
    answer = await post(anonymous, follower("2"), follower("3", seller_id=2), {})
    assert_problem(answer, 403, "recipient_forbidden")
    assert len(await rows(resources, "SELECT id FROM followers")) == 1


async def test_a_service_needs_all_sellers(anonymous: AsyncClient) -> None:
    anonymous.headers.update(bearer(mint_for_service(scope="audience:write")))
    assert_problem(await post(anonymous, follower()), 403, "scope_missing")


async def test_the_scope_is_named(seller: AsyncClient) -> None:
    answer = await post(seller, follower())
    assert_problem(answer, 403, "scope_missing")
    assert 'scope="audience:write"' in answer.headers["www-authenticate"]


async def test_too_many_lines_or_bytes_are_refused(feeder: AsyncClient) -> None:
    line = ndjson(follower())
    for body in (line * (LINES_MAX + 1), b" " * (BODY_BYTES_MAX + 1)):
        answer = await feeder.post("/audience/events", content=body, headers=KIND)
        assert_problem(answer, 413, "body_too_large")
    full = await feeder.post("/audience/events", content=line * LINES_MAX, headers=KIND)
    assert full.json() == {"applied": 1, "ignored": LINES_MAX - 1, "unusable_addresses": 0}


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[[]]\n", b" \n\t1\n", b'{"source":"follower"}\n', b"x\n"]
)
async def test_too_many_lines_are_counted_before_any_is_read(
    feeder: AsyncClient, line: bytes
) -> None:
    body = line * (BODY_BYTES_MAX // len(line))
    with measured_memory() as memory:
        answer = await feeder.post("/audience/events", content=body, headers=KIND)
    assert_problem(answer, 413, "body_too_large")
    assert memory.peak < 4 * BODY_BYTES_MAX


async def test_lines_that_become_much_larger_than_they_are_take_little_memory(
    feeder: AsyncClient,
) -> None:
    """An empty list is two bytes, and 56 once it is parsed."""
    for body in (b"[" + b"[]," * (BODY_BYTES_MAX // 3 - 1) + b"[]]", b"\n" * BODY_BYTES_MAX):
        with measured_memory() as memory:
            answer = await feeder.post("/audience/events", content=body, headers=KIND)
        assert answer.status_code in (200, 422)
        assert memory.peak < 4 * BODY_BYTES_MAX


async def test_an_event_is_as_long_as_it_may_be(feeder: AsyncClient) -> None:
    line = ndjson(follower(key="1"))
    for length, status in ((LINE_BYTES_MAX, 200), (LINE_BYTES_MAX + 1, 422)):
        body = b"\n \n" + line.rstrip().ljust(length) + b"\n" + ndjson(follower(key="2"))
        answer = await feeder.post("/audience/events", content=body, headers=KIND)
        assert answer.status_code == status, answer.text
    assert answer.json()["lines"] == [{"line": 3, "reason": "is longer than 65,536 bytes"}]


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "application/json"}, {}, KIND | {"Content-Encoding": "gzip"}],
)
async def test_another_kind_of_body_is_refused(
    feeder: AsyncClient, headers: dict[str, str]
) -> None:
    answer = await feeder.post("/audience/events", content=ndjson(follower()), headers=headers)
    assert_problem(answer, 415, "unsupported_media_type")


async def test_a_kind_with_a_charset_is_taken(feeder: AsyncClient) -> None:
    headers = {"Content-Type": f"{MEDIA_TYPE.upper()}; charset=utf-8"}
    answer = await feeder.post("/audience/events", content=ndjson(follower()), headers=headers)
    assert answer.status_code == 200


async def test_lines_are_counted_by_what_became_of_them(
    feeder: AsyncClient, resources: Resources
) -> None:
    await applied(feeder, follower(key="1"), follower(key="2"), follower(key="1"))
    await post(feeder, follower(key="3"), {"source": "stranger"})
    value = resources.metrics.registry.get_sample_value
    counts = {
        outcome: value("audience_export_events_lines_total", {"outcome": outcome})
        for outcome in ("applied", "ignored", "rejected")
    }
    assert counts == {"applied": 2, "ignored": 1, "rejected": 2}
