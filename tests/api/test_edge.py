"""The edge: HEAD, and pages of other origins."""

from httpx import AsyncClient

from tests.api.conftest import Start
from tests.tokens import bearer, mint

SHOP = "https://shop.example"


async def test_head_is_answered_as_get_without_the_body(seller: AsyncClient) -> None:
    for path in ("/healthz", "/exports"):
        answer = await seller.head(path)
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) > 0
        assert not answer.content


async def test_a_page_of_a_configured_origin_may_call(start: Start) -> None:
    async with start(cors_origins=SHOP) as (client, _):
        asked = {
            "Origin": SHOP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        }
        preflight = await client.options("/exports", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == SHOP
        answer = await client.get("/exports", headers={"Origin": SHOP, **bearer(mint())})
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert "ETag" in answer.headers["access-control-expose-headers"]
        refused = await client.get("/exports", headers={"Origin": SHOP})
        assert refused.headers["access-control-allow-origin"] == SHOP


async def test_a_page_of_another_origin_may_not(start: Start) -> None:
    async with start(cors_origins=SHOP) as (client, _):
        other = {"Origin": "https://evil.example"}
        answer = await client.get("/exports", headers=other | bearer(mint()))
        assert "access-control-allow-origin" not in answer.headers
        asked = other | {"Access-Control-Request-Method": "POST"}
        assert (await client.options("/exports", headers=asked)).status_code == 400
