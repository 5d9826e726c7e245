"""Many at once: more callers than database sessions, where PgBouncer stands in between."""

import asyncio
from typing import Any

import httpx

from tests.audience.storefront import Storefront
from tests.end_to_end.conftest import finished

SELLERS = range(5000, 5030)


async def export(client: httpx.AsyncClient, seller_id: int) -> dict[str, Any]:
    """Ask for an export, look at the counts meanwhile, and return it when it has ended."""
    body = {"seller_id": seller_id, "recipient_email": f"seller{seller_id}@example.com"}
    answer = await client.post("/exports", json=body | {"follower": True})
    assert answer.status_code == 202, answer.text
    counts = await client.get(f"/audience?seller_id={seller_id}")
    assert counts.status_code == 200, counts.text
    assert counts.json()["total"] == seller_id % 3
    return await finished(client, answer.json()["id"])


async def test_every_seller_of_a_crowd_gets_a_list_of_their_own(
    client: httpx.AsyncClient, storefront: Storefront
) -> None:
    for seller_id in SELLERS:
        for number in range(seller_id % 3):
            await storefront.follow(f"{number}@x.co", seller_id=seller_id)
    ended = await asyncio.gather(*(export(client, seller_id) for seller_id in SELLERS))
    assert {each["status"] for each in ended} == {"succeeded"}
    assert [each["file"]["rows"] for each in ended] == [seller_id % 3 for seller_id in SELLERS]
