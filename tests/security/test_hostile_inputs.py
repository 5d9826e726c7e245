"""Hostile input in every place: a 4xx problem document, and nothing is stored."""

from urllib.parse import quote_from_bytes

import pytest
from httpx import AsyncClient, Response

from app.api.problems import MEDIA_TYPE
from tests.api.conftest import anonymous, records, resources, running, service, start
from tests.api.records import Records

__all__ = ["anonymous", "records", "resources", "running", "service", "start"]

HOSTILE: dict[str, bytes] = {
    "statement": b"1'; DROP TABLE exports; --",
    "comment": b"1/**/OR/**/1=1",
    "placeholder": b"$1",
    "named placeholder": b":seller_id",
    "format": b"%s%n{0}{seller_id}",
    "nul": b"a\x00b",
    "line ends": b"a\r\nX-Injected: yes",
    "not UTF-8": b"\xff\xfe\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "huge number": b"9" * 400,
    "large number": str(2**63).encode(),
    "negative": b"-1",
    "float": b"1e308",
    "not a number": b"NaN",
    "path": b"../../etc/passwd",
    "markup": b"<script>alert(1)</script>",
    "template": b"{{7*7}}${7*7}",
    "encoded word": b"=?utf-8?q?x?=",
    "long": b"a" * 8000,
}

PLACES = [
    "/exports/{}",
    "/exports/{}/download",
    "/exports/{}/events",
    "/exports/{}/audit",
    "/d/{}",
    "/exports?status={}",
    "/exports?limit={}",
    "/exports?cursor={}",
    "/exports?seller_id={}",
    "/audience?seller_id={}",
    "/exports/019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071?wait={}",
]


def assert_refused(answer: Response) -> None:
    """Fail unless the answer is a 4xx problem that repeats no line end."""
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["status"] == answer.status_code
    assert "x-injected" not in answer.headers


@pytest.mark.parametrize("place", PLACES)
async def test_a_hostile_address_is_refused(
    service: AsyncClient, records: Records, subtests: pytest.Subtests, place: str
) -> None:
    for name, value in HOSTILE.items():
        with subtests.test(value=name):
            assert_refused(await service.get(place.format(quote_from_bytes(value, safe=""))))
    assert await records.count() == 0


async def test_a_hostile_key_is_refused_or_only_a_key(
    service: AsyncClient, records: Records, subtests: pytest.Subtests
) -> None:
    body = {"follower": True, "seller_id": 1}
    for name, value in HOSTILE.items():
        with subtests.test(value=name):
            headers = {b"Idempotency-Key": value}
            assert_refused(await service.post("/exports", json=body, headers=headers))
    assert await records.count() == 0


@pytest.mark.parametrize("field", ["recipient_email", "columns", "follower", "seller_id", "bom"])
async def test_a_hostile_field_is_refused(
    service: AsyncClient, records: Records, subtests: pytest.Subtests, field: str
) -> None:
    usual = {"follower": True, "seller_id": 1, "recipient_email": "seller1@example.com"}
    for name, value in HOSTILE.items():
        with subtests.test(value=name):
            sent = value.decode("utf-8", "surrogateescape")
            if not sent.isprintable():
                sent = value.decode("latin-1")
            assert_refused(await service.post("/exports", json=usual | {field: sent}))
            assert_refused(await service.post("/exports", json=usual | {field: [sent]}))
            assert_refused(await service.post("/exports", json=usual | {field: {sent: sent}}))
    assert await records.count() == 0


async def test_a_megabyte_is_refused_wherever_it_comes(
    service: AsyncClient, records: Records
) -> None:
    megabyte = "a" * 1_000_000
    usual = {"follower": True, "seller_id": 1, "recipient_email": "seller1@example.com"}
    for body in (usual | {"recipient_email": megabyte}, {megabyte: True}, [megabyte]):
        answer = await service.post("/exports", json=body)
        assert_refused(answer)
        assert answer.status_code == 413
    longest = megabyte[:60_000]  # of what the client agrees to send; uvicorn ends at 64 KiB
    for path in (f"/d/{longest}", f"/exports/{longest}", f"/exports?cursor={longest}"):
        assert_refused(await service.get(path))
    assert await records.count() == 0
