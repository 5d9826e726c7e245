"""Exports over HTTP: asking, following, listing."""

import asyncio
import json
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient
from redis.asyncio import Redis

from app.adapters.queue import QUEUE_NAME, job_id
from app.models import STATUSES
from app.resources import Resources
from tests.api.conftest import Start
from tests.api.problem_documents import assert_problem, faulty_fields
from tests.api.records import Records
from tests.tokens import OWNER_EMAIL, bearer, mint

FOLLOWERS = {"follower": True}
JSON = {"Content-Type": "application/json"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


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
        "recipient_email": OWNER_EMAIL,
        "progress": {"rows_exported": 0, "rows_estimated": 0},
        "file": None,
        "download_url": None,
        "email": None,
        "error": None,
        "started_at": None,
        "snapshot_at": None,
        "finished_at": None,
        "expires_at": None,
    }


async def test_everything_that_can_be_asked_for_is_kept(seller: AsyncClient) -> None:
    wish = {
        "follower": False,
        "customer": True,
        "affiliate": True,
        "columns": ["affiliate_since", "email", "sources"],
        "spreadsheet_safe": False,
        "bom": True,
        "seller_id": 1,
        "recipient_email": OWNER_EMAIL.upper(),
    }
    export = (await seller.post("/exports", json=wish)).json()
    assert export["sources"] == ["customer", "affiliate"]
    assert export["columns"] == wish["columns"]
    assert (export["spreadsheet_safe"], export["bom"]) == (False, True)
    assert export["recipient_email"] == OWNER_EMAIL


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


REFUSED_WISHES: list[tuple[dict[str, Any], str]] = [
    ({"follower": False}, "follower"),
    ({"follower": "true"}, "follower"),
    ({"follower": 1}, "follower"),
    ({"follower": None}, "follower"),
    ({"customer": "'; DROP TABLE exports; --"}, "customer"),
    ({"followers": True}, "followers"),
    ({"__class__": True}, "__class__"),
    ({"\ud800": True}, "body"),
    ({"x\x00": True}, "x\x00"),
    ({"sources": ["follower"]}, "sources"),
    ({"columns": []}, "columns"),
    ({"columns": None}, "columns"),
    ({"columns": "email"}, "columns"),
    ({"columns": [1]}, "columns"),
    ({"columns": ["phone"]}, "columns"),
    ({"columns": ["email", "email"]}, "columns"),
    ({"columns": ["customer_since"]}, "columns"),
    ({"columns": ["email"] * 1000}, "columns"),
    ({"columns": ["email\x00"]}, "columns"),
    ({"columns": ["\udc80"]}, "columns"),
    ({"spreadsheet_safe": "no"}, "spreadsheet_safe"),
    ({"spreadsheet_safe": None}, "spreadsheet_safe"),
    ({"bom": 0}, "bom"),
    ({"seller_id": "1"}, "seller_id"),
    ({"seller_id": 1.0}, "seller_id"),
    ({"seller_id": True}, "seller_id"),
    ({"seller_id": 0}, "seller_id"),
    ({"seller_id": 2**63}, "seller_id"),
    ({"seller_id": 10**1000}, "seller_id"),
    ({"recipient_email": 7}, "recipient_email"),
    ({"recipient_email": ""}, "recipient_email"),
    ({"recipient_email": "nobody"}, "recipient_email"),
    ({"recipient_email": "a@b.co\r\nBcc: c@d.co"}, "recipient_email"),
    ({"recipient_email": "a@b.co\x00"}, "recipient_email"),
    ({"recipient_email": "\ud800@b.co"}, "recipient_email"),
    ({"recipient_email": f"{'a' * 1000}@b.co"}, "recipient_email"),
]


async def test_a_request_that_makes_no_sense_is_refused_by_field_and_stored_nowhere(
    seller: AsyncClient, records: Records, subtests: pytest.Subtests
) -> None:
    for changes, field in REFUSED_WISHES:
        with subtests.test(changes=changes):
            body = json.dumps(FOLLOWERS | changes).encode("ascii")
            answer = await seller.post("/exports", content=body, headers=JSON)
            assert_problem(answer, 422, "request_invalid")
            assert field in faulty_fields(answer)
    assert await records.count() == 0


UNSOUND_BODIES = [
    b"",
    b"null",
    b"[]",
    b"7",
    b'"follower"',
    b"{",
    b'{"follower": true',
    b'{"follower": tru}',
    b'{"follower": true} {}',
    b'{"follower": true, "follower": false}',
    b'{"follower": NaN}',
    b'{"follower": true, "seller_id": Infinity}',
    b'{"follower": true, "seller_id": ' + b"9" * 5000 + b"}",
    b'{"follower": true, "recipient_email": "\xff\xfe@b.co"}',
    b"\xef\xbb\xbf{}",
    b"[" * 60_000,
    b'{"a":' * 10_000,
]


async def test_a_body_that_is_no_sound_json_object_is_refused_and_stored_nowhere(
    seller: AsyncClient, records: Records, subtests: pytest.Subtests
) -> None:
    for body in UNSOUND_BODIES:
        with subtests.test(body=body[:40]):
            answer = await seller.post("/exports", content=body, headers=JSON)
            assert_problem(answer, 422, "request_invalid")
            assert "body" in faulty_fields(answer)
    assert await records.count() == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
async def test_a_body_must_be_called_json(seller: AsyncClient, kind: str) -> None:
    answer = await seller.post(
        "/exports", content=b'{"follower": true}', headers={"Content-Type": kind}
    )
    assert_problem(answer, 422, "request_invalid")
    assert "application/json" in answer.json()["errors"][0]["reason"]


async def test_no_source_at_all_names_every_flag(seller: AsyncClient) -> None:
    answer = await seller.post("/exports", json={})
    assert_problem(answer, 422, "request_invalid")
    assert faulty_fields(answer) == ["follower", "customer", "affiliate"]


async def test_of_very_many_faults_only_some_are_told(seller: AsyncClient) -> None:
    answer = await seller.post("/exports", json={f"field {n}": n for n in range(1000)})
    assert_problem(answer, 422, "request_invalid")
    assert len(faulty_fields(answer)) == 20


async def chunks(total_bytes: int) -> Any:
    for _ in range(total_bytes // 1024):
        yield b" " * 1024


@pytest.mark.parametrize("content", [b" " * 65_537, chunks(65_536 * 2)], ids=["whole", "chunked"])
async def test_a_body_that_is_too_large_is_refused(seller: AsyncClient, content: Any) -> None:
    answer = await seller.post("/exports", content=content, headers=JSON)
    assert_problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    "changes", [{"seller_id": 2}, {"recipient_email": "other@example.com"}], ids=str
)
async def test_a_seller_asks_for_itself_and_its_own_address_only(
    seller: AsyncClient, records: Records, changes: dict[str, Any]
) -> None:
    answer = await seller.post("/exports", json=FOLLOWERS | changes)
    assert_problem(answer, 403, "recipient_forbidden")
    assert await records.count() == 0


async def test_a_sellers_token_without_an_address_cannot_ask(
    anyone: AsyncClient, records: Records
) -> None:
    for wish in (FOLLOWERS, FOLLOWERS | {"recipient_email": OWNER_EMAIL}):
        answer = await anyone.post("/exports", json=wish, headers=bearer(mint(email=...)))
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == ["recipient_email"]
    assert await records.count() == 0


@pytest.mark.parametrize("missing", ["seller_id", "recipient_email"])
async def test_a_service_names_seller_and_recipient(
    service: AsyncClient, records: Records, missing: str
) -> None:
    wish: dict[str, Any] = FOLLOWERS | {"seller_id": 7, "recipient_email": "josé@example.com"}
    answer = await service.post("/exports", json=wish)
    assert answer.status_code == 202
    assert answer.json()["seller_id"] == 7
    assert answer.json()["recipient_email"] == "josé@example.com"
    for changed in ({**wish, missing: None}, {k: v for k, v in wish.items() if k != missing}):
        answer = await service.post("/exports", json=changed)
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == [missing]
    assert await records.count() == 1


async def test_a_quota_says_when_to_come_back(start: Start) -> None:
    async with start(max_active_exports_per_seller=1) as (client, _):
        client.headers.update(bearer(mint()))
        await client.post("/exports", json=FOLLOWERS)
        answer = await client.post("/exports", json={"customer": True})
        assert_problem(answer, 429, "quota_exceeded")
        assert int(answer.headers["retry-after"]) > 0


async def test_a_full_queue_says_when_to_come_back(start: Start) -> None:
    async with start(max_queued_exports=1) as (client, _):
        await client.post("/exports", json=FOLLOWERS, headers=bearer(mint()))
        other = bearer(mint(seller_id=2, email="seller2@example.com"))
        answer = await client.post("/exports", json=FOLLOWERS, headers=other)
        assert_problem(answer, 503, "queue_full")
        assert int(answer.headers["retry-after"]) > 0


async def test_a_finished_export_tells_of_its_file_and_its_mail(
    seller: AsyncClient, records: Records, opened: Resources
) -> None:
    export = await records.add("succeeded")
    answer = await seller.get(f"/exports/{export.id}")
    document = answer.json()
    assert answer.status_code == 200
    assert "retry-after" not in answer.headers
    assert document["file"] == {"name": "audience-1-2026-11-22.csv", "rows": 1, "bytes": 20}
    assert document["email"] == {"status": "pending", "sent_at": None}
    assert document["download_url"] == opened.links.url(export)
    assert INSTANT.fullmatch(document["expires_at"])


async def test_an_error_is_told_once_an_export_has_failed_and_not_before(
    seller: AsyncClient, records: Records
) -> None:
    why = {"error_code": "storage_unavailable", "error_detail": "The store is away."}
    failed = await records.add("failed", **why)
    trying = await records.add("queued", **why)
    told = (await seller.get(f"/exports/{failed.id}")).json()["error"]
    assert told == {"code": "storage_unavailable", "detail": "The store is away."}
    assert (await seller.get(f"/exports/{trying.id}")).json()["error"] is None


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "succeeded"])
async def test_only_an_export_that_succeeded_has_an_address_to_download(
    seller: AsyncClient, records: Records, status: str
) -> None:
    export = await records.add(status)
    assert (await seller.get(f"/exports/{export.id}")).json()["download_url"] is None


async def test_without_a_public_address_the_file_is_presigned_anew_each_time(
    start: Start,
) -> None:
    async with start(public_url=None) as (client, opened):
        export = await Records(opened).add("succeeded")
        client.headers.update(bearer(mint()))
        answer = await client.get(f"/exports/{export.id}")
        url = answer.json()["download_url"]
        assert "X-Amz-Expires=300" in url
        async with AsyncClient() as browser:
            assert (await browser.get(url)).text.startswith("Email")


async def test_an_unchanged_export_is_not_sent_again(seller: AsyncClient, records: Records) -> None:
    export = await records.add("succeeded")
    path = f"/exports/{export.id}"
    tag = (await seller.get(path)).headers["etag"]
    for known in (tag, f'"x", {tag}', tag.removeprefix("W/"), "*"):
        answer = await seller.get(path, headers={"If-None-Match": known})
        assert answer.status_code == 304
        assert answer.headers["etag"] == tag
        assert not answer.content
    await records.change(export, email_status="sent")
    answer = await seller.get(path, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"] != tag


async def test_waiting_ends_as_soon_as_the_export_has_ended(
    seller: AsyncClient, records: Records
) -> None:
    export = await records.add("running")
    waiting = asyncio.create_task(seller.get(f"/exports/{export.id}", params={"wait": 30}))
    await asyncio.sleep(0)
    assert not waiting.done()
    await records.change(export, status="failed")
    answer = await asyncio.wait_for(waiting, 10)
    assert answer.json()["status"] == "failed"


async def test_waiting_ends_with_its_time(seller: AsyncClient, records: Records) -> None:
    export = await records.add("running")
    answer = await seller.get(f"/exports/{export.id}", params={"wait": 0.2})
    assert answer.json()["status"] == "running"
    assert answer.headers["retry-after"] == "1"


async def test_waiting_is_for_up_to_thirty_seconds(seller: AsyncClient, records: Records) -> None:
    export = await records.add()
    for wait in ["-1", "31", "soon", "nan", "inf", ""]:
        answer = await seller.get(f"/exports/{export.id}", params={"wait": wait})
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == ["wait"]


async def test_what_is_no_export_and_what_is_anothers_look_the_same(
    seller: AsyncClient, records: Records
) -> None:
    other = await records.add(seller_id=2)
    seller.headers["X-Request-ID"] = "the-same"
    names = (other.id, uuid4(), "nonsense", other.id.hex, f"{{{uuid4()}}}", "%00", "1" * 5000)
    answers = [
        await seller.get(f"/exports/{name}{suffix}")
        for name in names
        for suffix in ("", "/download")
    ]
    assert_problem(answers[0], 404, "export_not_found")
    assert {(answer.content, str(answer.headers)) for answer in answers} == {
        (answers[0].content, str(answers[0].headers))
    }


async def test_a_service_reads_every_sellers_exports(
    service: AsyncClient, records: Records
) -> None:
    export = await records.add(seller_id=2)
    assert (await service.get(f"/exports/{export.id}")).status_code == 200


async def test_exports_are_listed_newest_first_page_by_page(
    seller: AsyncClient, records: Records
) -> None:
    added = [str((await records.add("failed")).id) for _ in range(5)]
    await records.add("failed", seller_id=2)
    seen: list[str] = []
    cursor: str | None = None
    for expected in (2, 2, 1):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await seller.get("/exports", params=params)).json()
        assert len(page["items"]) == expected
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert cursor is None
    assert seen == added[::-1]


async def test_a_full_last_page_has_no_next_one(seller: AsyncClient, records: Records) -> None:
    for _ in range(2):
        await records.add("failed")
    page = (await seller.get("/exports", params={"limit": 2})).json()
    assert (len(page["items"]), page["next_cursor"]) == (2, None)


async def test_exports_are_listed_by_status(seller: AsyncClient, records: Records) -> None:
    await records.add("failed")
    done = await records.add("succeeded")
    page = (await seller.get("/exports", params={"status": "succeeded"})).json()
    assert [item["id"] for item in page["items"]] == [str(done.id)]
    assert page["items"][0] == (await seller.get(f"/exports/{done.id}")).json()


async def test_a_service_lists_all_sellers_or_one(service: AsyncClient, records: Records) -> None:
    for seller_id in (1, 2):
        await records.add("failed", seller_id=seller_id)
    page = (await service.get("/exports")).json()
    assert [item["seller_id"] for item in page["items"]] == [2, 1]
    page = (await service.get("/exports", params={"seller_id": 1})).json()
    assert [item["seller_id"] for item in page["items"]] == [1]


async def test_a_seller_lists_its_own_exports_only(seller: AsyncClient) -> None:
    assert (await seller.get("/exports", params={"seller_id": 1})).status_code == 200
    answer = await seller.get("/exports", params={"seller_id": 2})
    assert_problem(answer, 403, "recipient_forbidden")


REFUSED_LISTS = [
    ("limit", "0"),
    ("limit", "101"),
    ("limit", "1.5"),
    ("limit", "1_0"),
    ("limit", "+10"),
    ("limit", " 10"),
    ("limit", "10.0"),
    ("limit", "\u0661"),
    ("limit", "9" * 5000),
    ("status", "done"),
    ("status", "queued,running"),
    ("cursor", "nonsense"),
    ("cursor", ""),
    ("cursor", "é"),
    ("cursor", "A" * 21),
    ("cursor", "A" * 21 + "B"),
    ("cursor", "\x00"),
    ("seller_id", "me"),
    ("seller_id", "0"),
    ("seller_id", "0_1"),
    ("seller_id", str(2**63)),
]


@pytest.mark.parametrize(
    ("wait", "status"), [("0.5e-3", 404), ("1E-2", 404), ("0_1", 422), ("nan", 422), ("+0", 422)]
)
async def test_seconds_are_numbers_as_json_writes_them(
    seller: AsyncClient, wait: str, status: int
) -> None:
    answer = await seller.get(f"/exports/{UUID(int=7)}", params={"wait": wait})
    assert answer.status_code == status


async def test_a_list_asked_for_wrongly_is_refused_by_field(
    seller: AsyncClient, subtests: pytest.Subtests
) -> None:
    for field, value in REFUSED_LISTS:
        with subtests.test(field=field, value=value[:40]):
            answer = await seller.get("/exports", params={field: value})
            assert_problem(answer, 422, "request_invalid")
            assert faulty_fields(answer) == [field]
