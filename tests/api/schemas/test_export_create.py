"""The body of `POST /exports`: what is refused, by field, and stored nowhere."""

import json
from typing import Any

import pytest
from httpx import AsyncClient

from tests.api.export_documents import FOLLOWERS
from tests.api.problem_documents import assert_problem, faulty_fields
from tests.api.records import Records
from tests.tokens import OWNER_EMAIL, bearer, mint

JSON = {"Content-Type": "application/json"}

INVALID_BODIES: list[tuple[dict[str, Any], str]] = [
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
    ({"format": "pdf"}, "format"),
    ({"format": None}, "format"),
    ({"delimiter": "|"}, "delimiter"),
    ({"delimiter": ""}, "delimiter"),
    ({"format": "xlsx", "delimiter": ";"}, "delimiter"),
    ({"format": "xlsx", "bom": True}, "bom"),
    ({"locale": "not a tag"}, "locale"),
    ({"locale": 7}, "locale"),
    ({"locale": "a" * 1000}, "locale"),
    ({"timezone": "Europe/Bonn"}, "timezone"),
    ({"timezone": "UTC\x00"}, "timezone"),
    ({"timezone": "\ud800"}, "timezone"),
    ({"joined_after": "2024-02-30"}, "joined_after"),
    ({"joined_after": 1704067200}, "joined_after"),
    ({"joined_before": "soon"}, "joined_before"),
    ({"joined_after": "2024-01-01", "joined_before": "2024-01-01"}, "joined_before"),
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
    for changes, field in INVALID_BODIES:
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


async def test_of_very_many_faults_only_some_are_reported(seller: AsyncClient) -> None:
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
    anonymous: AsyncClient, records: Records
) -> None:
    for body in (FOLLOWERS, FOLLOWERS | {"recipient_email": OWNER_EMAIL}):
        answer = await anonymous.post("/exports", json=body, headers=bearer(mint(email=...)))
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == ["recipient_email"]
    assert await records.count() == 0


@pytest.mark.parametrize("missing", ["seller_id", "recipient_email"])
async def test_a_service_names_seller_and_recipient(
    service: AsyncClient, records: Records, missing: str
) -> None:
    body: dict[str, Any] = FOLLOWERS | {"seller_id": 7, "recipient_email": "josé@example.com"}
    answer = await service.post("/exports", json=body)
    assert answer.status_code == 202
    assert answer.json()["seller_id"] == 7
    assert answer.json()["recipient_email"] == "josé@example.com"
    for changed in ({**body, missing: None}, {k: v for k, v in body.items() if k != missing}):
        answer = await service.post("/exports", json=changed)
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == [missing]
    assert await records.count() == 1
