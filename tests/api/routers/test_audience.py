"""The audience over HTTP: counts by source and in all."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from httpx import AsyncClient

from app.audience.sources import SOURCES
from app.database.connections import connect
from tests.api.problem_documents import assert_problem, faulty_fields
from tests.audience.storefront import Storefront


@pytest.fixture
async def storefront(database_url: str) -> AsyncIterator[Storefront]:
    """The storefront of seller 1 and others."""
    connection = await connect(database_url)
    yield Storefront(connection)
    await connection.close()


async def test_each_source_is_counted_and_everybody_once(
    seller: AsyncClient, storefront: Storefront
) -> None:
    for email in ("a@example.com", "b@example.com"):
        await storefront.follow(email)
    await storefront.buy("B@example.com")
    await storefront.refer("c@example.com")
    await storefront.follow("d@example.com", seller_id=2)
    answer = await seller.get("/audience")
    assert answer.status_code == 200
    assert answer.json() == {
        "sources": [
            {"key": "follower", "label": "Followers", "count": 2},
            {"key": "customer", "label": "Customers", "count": 1},
            {"key": "affiliate", "label": "Affiliates", "count": 1},
        ],
        "total": 3,
    }


async def test_a_period_counts_those_who_joined_in_it(
    seller: AsyncClient, storefront: Storefront
) -> None:
    await storefront.follow("a@example.com", created_at=datetime(2023, 12, 31, 23, tzinfo=UTC))
    await storefront.buy("a@example.com", created_at=datetime(2024, 5, 1, tzinfo=UTC))
    await storefront.follow("b@example.com", created_at=datetime(2024, 5, 1, tzinfo=UTC))
    period = {"joined_after": "2024-01-01", "joined_before": "2024-06-01"}
    document = (await seller.get("/audience", params=period)).json()
    assert [source["count"] for source in document["sources"]] == [1, 1, 0]
    assert document["total"] == 1
    berlin = period | {"timezone": "Europe/Berlin"}
    document = (await seller.get("/audience", params=berlin)).json()
    assert [source["count"] for source in document["sources"]] == [2, 1, 0]
    assert document["total"] == 2


async def test_labels_are_in_the_language_that_is_requested(seller: AsyncClient) -> None:
    document = (await seller.get("/audience", params={"locale": "fr-CA"})).json()
    labels = [source["label"] for source in document["sources"]]
    assert labels == [source.label_in("fr") for source in SOURCES]


async def test_a_period_that_makes_no_sense_is_refused(seller: AsyncClient) -> None:
    for params, field in [
        ({"joined_after": "2024-02-30"}, "joined_after"),
        ({"joined_before": ""}, "joined_before"),
        ({"joined_after": "2024-02-02", "joined_before": "2024-02-01"}, "joined_before"),
        ({"timezone": "Nowhere"}, "timezone"),
        ({"locale": "-"}, "locale"),
    ]:
        answer = await seller.get("/audience", params=params)
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == [field]


async def test_a_seller_nobody_knows_has_an_empty_audience(seller: AsyncClient) -> None:
    document = (await seller.get("/audience")).json()
    assert document["total"] == 0
    assert [source["key"] for source in document["sources"]] == [source.key for source in SOURCES]
    assert not any(source["count"] for source in document["sources"])


async def test_a_service_names_the_seller(service: AsyncClient, storefront: Storefront) -> None:
    await storefront.follow("d@example.com", seller_id=2)
    assert (await service.get("/audience", params={"seller_id": 2})).json()["total"] == 1
    answer = await service.get("/audience")
    assert_problem(answer, 422, "request_invalid")
    assert faulty_fields(answer) == ["seller_id"]


async def test_a_seller_counts_its_own_audience_only(seller: AsyncClient) -> None:
    assert (await seller.get("/audience", params={"seller_id": 1})).status_code == 200
    answer = await seller.get("/audience", params={"seller_id": 2})
    assert_problem(answer, 403, "recipient_forbidden")


async def test_a_seller_named_wrongly_is_refused(seller: AsyncClient) -> None:
    for seller_id in ["", "x", "0", "-1", "1.5", str(2**63), "9" * 5000]:
        answer = await seller.get("/audience", params={"seller_id": seller_id})
        assert_problem(answer, 422, "request_invalid")
        assert faulty_fields(answer) == ["seller_id"]
