"""`GET /exports`: page by page, by status, by seller."""

import pytest
from httpx import AsyncClient

from tests.api.problem_documents import assert_problem, faulty_fields
from tests.api.records import Records


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


async def test_a_list_requested_wrongly_is_refused_by_field(
    seller: AsyncClient, subtests: pytest.Subtests
) -> None:
    for field, value in REFUSED_LISTS:
        with subtests.test(field=field, value=value[:40]):
            answer = await seller.get("/exports", params={field: value})
            assert_problem(answer, 422, "request_invalid")
            assert faulty_fields(answer) == [field]
