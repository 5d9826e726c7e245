"""`POST /exports`: accepted, described, and one export for one request."""

import asyncio
from uuid import UUID

import pytest
from httpx import AsyncClient
from redis.asyncio import Redis

from app.adapters.redis.queue import QUEUE_NAME, job_id
from tests.api.conftest import Start
from tests.api.export_documents import FOLLOWERS, INSTANT
from tests.api.problem_documents import assert_problem, faulty_fields
from tests.api.records import Records
from tests.tokens import OWNER_EMAIL, bearer, mint


async def test_a_new_export_is_accepted_located_and_described(seller: AsyncClient) -> None:
    answer = await seller.post("/exports", json=FOLLOWERS)
    export = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/exports/{export['id']}"
    assert answer.headers["etag"]
    assert answer.headers["retry-after"] == "1"
    assert INSTANT.fullmatch(export.pop("created_at"))
    assert export == {
        "id": export["id"],
        "seller_id": 1,
        "status": "queued",
        "sources": ["follower"],
        "columns": ["email", "subscribed_at"],
        "spreadsheet_safe": True,
        "bom": False,
        "format": "csv",
        "delimiter": ",",
        "locale": "en",
        "timezone": "UTC",
        "joined_after": None,
        "joined_before": None,
        "recipient_email": OWNER_EMAIL,
        "progress": {"rows_exported": 0, "rows_estimated": 0},
        "file": None,
        "downloads": {"count": 0, "last_at": None},
        "download_url": None,
        "email": None,
        "error": None,
        "started_at": None,
        "snapshot_at": None,
        "finished_at": None,
        "expires_at": None,
    }


async def test_everything_that_can_be_requested_is_kept(seller: AsyncClient) -> None:
    body = {
        "follower": False,
        "customer": True,
        "affiliate": True,
        "columns": ["affiliate_since", "email", "sources"],
        "spreadsheet_safe": False,
        "bom": True,
        "seller_id": 1,
        "recipient_email": OWNER_EMAIL.upper(),
    }
    export = (await seller.post("/exports", json=body)).json()
    assert export["sources"] == ["customer", "affiliate"]
    assert export["columns"] == body["columns"]
    assert (export["spreadsheet_safe"], export["bom"]) == (False, True)
    assert export["recipient_email"] == OWNER_EMAIL


async def test_every_option_is_shown_as_it_is_understood(seller: AsyncClient) -> None:
    body = FOLLOWERS | {
        "delimiter": ";",
        "locale": "de-AT",
        "timezone": "europe/vienna",
        "joined_after": "2024-01-01",
        "joined_before": "2024-03-01T12:00:00.5+01:00",
    }
    export = (await seller.post("/exports", json=body)).json()
    assert {name: export[name] for name in body if name != "follower"} == {
        "delimiter": ";",
        "locale": "de",
        "timezone": "Europe/Vienna",
        "joined_after": "2023-12-31T23:00:00.000000Z",
        "joined_before": "2024-03-01T11:00:00.500000Z",
    }
    assert (await seller.get(f"/exports/{export['id']}")).json()["timezone"] == "Europe/Vienna"


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}], ids=["", "key"])
async def test_requests_that_differ_in_spelling_only_are_the_same(
    seller: AsyncClient, key: dict[str, str]
) -> None:
    plain = FOLLOWERS | {"locale": "de", "timezone": "Europe/Berlin", "joined_after": "2024-01-01"}
    other = FOLLOWERS | {
        "locale": "de-AT",
        "timezone": "europe/berlin",
        "joined_after": "2023-12-31T23:00:00Z",
        "format": "csv",
        "joined_before": None,
    }
    first = await seller.post("/exports", json=plain, headers=key)
    second = await seller.post("/exports", json=other, headers=key)
    assert (first.status_code, second.status_code) == (202, 200)
    assert second.json()["id"] == first.json()["id"]


async def test_a_tokens_language_and_time_zone_are_the_defaults(
    anonymous: AsyncClient,
) -> None:
    token = bearer(mint(locale="fr-CA", zoneinfo="America/Toronto"))
    export = (await anonymous.post("/exports", json=FOLLOWERS, headers=token)).json()
    assert (export["locale"], export["timezone"]) == ("fr", "America/Toronto")


async def test_addresses_that_mailing_tools_refuse_are_a_warning(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("succeeded", file_refused_addresses=3)
    [warning] = (await seller.get(f"/exports/{export.id}")).json()["file"]["warnings"]
    assert (warning["code"], warning["count"]) == ("addresses_refused", 3)


async def test_a_new_export_is_on_the_queue(seller: AsyncClient, redis_url: str) -> None:
    export = (await seller.post("/exports", json=FOLLOWERS)).json()
    redis = Redis.from_url(redis_url)
    [job] = await redis.zrange(QUEUE_NAME, 0, -1)
    await redis.aclose()
    assert job.decode() == job_id(UUID(export["id"]), 0)


async def test_an_export_is_accepted_while_redis_is_down(start: Start) -> None:
    async with start(redis_url="redis://127.0.0.1:1") as (client, _):
        answer = await client.post("/exports", json=FOLLOWERS, headers=bearer(mint()))
        assert answer.status_code == 202


async def test_an_identical_request_that_waits_is_answered_with_the_export_there_is(
    seller: AsyncClient, records: Records
) -> None:
    first = await seller.post("/exports", json=FOLLOWERS)
    second = await seller.post("/exports", json=FOLLOWERS | {"customer": False})
    assert second.status_code == 200
    assert second.headers["location"] == first.headers["location"]
    assert second.json() == first.json()
    assert await records.count() == 1


async def test_a_key_makes_one_export_however_often_it_comes(
    seller: AsyncClient, records: Records
) -> None:
    key = {"Idempotency-Key": "k" * 255}
    answers = await asyncio.gather(
        *(seller.post("/exports", json=FOLLOWERS, headers=key) for _ in range(10))
    )
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await records.count() == 1


async def test_a_key_that_comes_with_another_request_is_refused_by_name(
    seller: AsyncClient, records: Records
) -> None:
    key = {"Idempotency-Key": "mine"}
    await seller.post("/exports", json=FOLLOWERS, headers=key)
    answer = await seller.post("/exports", json={"customer": True}, headers=key)
    assert_problem(answer, 422, "idempotency_key_reused")
    assert faulty_fields(answer) == ["Idempotency-Key"]
    assert await records.count() == 1


async def test_a_key_that_is_none_is_refused_by_name(seller: AsyncClient, records: Records) -> None:
    for key in ["", "k" * 256, "tab\tinside", "\x7f", "\x01"]:
        answer = await seller.post("/exports", json=FOLLOWERS, headers={"Idempotency-Key": key})
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == ["Idempotency-Key"]
    assert await records.count() == 0


async def test_a_quota_says_when_to_come_back(start: Start) -> None:
    async with start(max_active_exports_per_seller=1) as (client, _):
        client.headers.update(bearer(mint()))
        await client.post("/exports", json=FOLLOWERS)
        answer = await client.post("/exports", json={"customer": True})
        assert_problem(answer, 429, "quota_exceeded")
        assert int(answer.headers["retry-after"]) > 0
        assert (answer.json()["limit"], answer.json()["maximum"]) == ("active_exports", 1)


async def test_a_full_queue_says_when_to_come_back(start: Start) -> None:
    async with start(max_queued_exports=1) as (client, _):
        await client.post("/exports", json=FOLLOWERS, headers=bearer(mint()))
        other = bearer(mint(seller_id=2, email="seller2@example.com"))
        answer = await client.post("/exports", json=FOLLOWERS, headers=other)
        assert_problem(answer, 503, "queue_full")
        assert int(answer.headers["retry-after"]) > 0
