"""The edge: HEAD, careful headers, time limits, and pages of other origins."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.middleware import ResponseTimeoutMiddleware
from app.api.openapi import ExportAPI
from app.api.problems import add_exception_handlers
from tests.api.conftest import Start
from tests.api.problem_documents import assert_problem
from tests.tokens import bearer, mint, mint_for_service

SHOP = "https://shop.example"


async def test_head_is_answered_as_get_without_the_body(seller: AsyncClient) -> None:
    for path in ("/healthz", "/exports"):
        answer = await seller.head(path)
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) > 0
        assert not answer.content


async def test_a_page_of_a_configured_origin_may_call(start: Start) -> None:
    async with start(cors_origins=SHOP) as (client, _):
        headers = {
            "Origin": SHOP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
        }
        preflight = await client.options("/exports", headers=headers)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == SHOP
        answer = await client.get("/exports", headers={"Origin": SHOP, **bearer(mint())})
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert "ETag" in answer.headers["access-control-expose-headers"]
        refused = await client.get("/exports", headers={"Origin": SHOP})
        assert refused.headers["access-control-allow-origin"] == SHOP


MONITORED = "authorization,baggage,sentry-trace,traceparent,tracestate,x-datadog-trace-id,x-any"
"""What a page's monitoring adds to each request."""


async def test_a_page_of_a_configured_origin_may_send_any_headers(start: Start) -> None:
    async with start(cors_origins=SHOP) as (client, _):
        headers = {
            "Origin": SHOP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": MONITORED,
        }
        preflight = await client.options("/exports", headers=headers)
        assert preflight.status_code == 200
        allowed = preflight.headers["access-control-allow-headers"].lower()
        assert set(MONITORED.split(",")) <= {name.strip() for name in allowed.split(",")}
        assert "access-control-allow-credentials" not in preflight.headers


async def test_a_refused_preflight_reveals_nothing_of_what_is_allowed(start: Start) -> None:
    refused = [
        ("https://evil.example", "POST", "authorization"),
        (SHOP, "PATCH", "authorization"),
    ]
    async with start(cors_origins=SHOP) as (client, _):
        for origin, method, names in refused:
            headers = {
                "Origin": origin,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": names,
            }
            answer = await client.options("/exports", headers=headers)
            assert answer.status_code == 400
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert "Origin" in answer.headers["vary"]


async def test_a_page_of_another_origin_may_not(start: Start) -> None:
    async with start(cors_origins=SHOP) as (client, _):
        other = {"Origin": "https://evil.example"}
        answer = await client.get("/exports", headers=other | bearer(mint()))
        assert "access-control-allow-origin" not in answer.headers
        headers = other | {"Access-Control-Request-Method": "POST"}
        assert (await client.options("/exports", headers=headers)).status_code == 400


PAGES = ["/docs", "/", "/demo.css", "/widget.js", "/healthz", "/exports", "/none", "/d/x"]


async def test_every_answer_tells_browsers_to_be_careful(
    seller: AsyncClient, subtests: pytest.Subtests
) -> None:
    for path in PAGES:
        with subtests.test(path=path):
            answer = await seller.get(path, headers={"Accept": "text/html"})
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "cache-control" in answer.headers
            assert "strict-transport-security" not in answer.headers


async def test_only_files_of_the_pages_are_kept_by_browsers(seller: AsyncClient) -> None:
    for path in ("/healthz", "/exports", "/audience", "/none", "/d/x", "/openapi.json"):
        assert (await seller.get(path)).headers["cache-control"] == "no-store"


async def test_over_https_browsers_are_told_to_stay_there(seller: AsyncClient) -> None:
    answer = await seller.get("https://exports.test/healthz")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_an_answer_to_our_own_fault_is_careful_as_well() -> None:
    app = ExportAPI()
    add_exception_handlers(app)

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError

    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://exports.test") as client:
        answer = await client.get("/broken")
    assert_problem(answer, 500, "internal")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "ZeroDivisionError" not in answer.text


def timed(handle: ASGIApp) -> AsyncClient:
    """Return a client of an application that has a tenth of a second to begin an answer."""
    return AsyncClient(
        transport=ASGITransport(ResponseTimeoutMiddleware(handle, timeout_s=0.1)),
        base_url="http://exports.test",
    )


async def test_an_answer_that_does_not_begin_is_given_up() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await asyncio.Event().wait()

    async with timed(never) as client:
        answer = await client.get("/")
    assert_problem(answer, 503, "answer_timeout")
    assert answer.headers["retry-after"]


async def test_a_request_that_does_not_arrive_is_given_up() -> None:
    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    async def drip() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with timed(reading) as client:
        answer = await client.post("/", content=drip())
    assert_problem(answer, 408, "request_timeout")


async def test_an_answer_that_has_begun_may_take_its_time() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"late"})

    async with timed(slow) as client:
        assert (await client.get("/")).text == "late"


async def test_a_timeout_of_somebody_else_is_not_ours() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError("another")

    async with timed(broken) as client:
        with pytest.raises(TimeoutError, match="another"):
            await client.get("/")


async def test_no_page_may_call_where_no_origin_is_configured(seller: AsyncClient) -> None:
    for origin in (SHOP, "null", "http://exports.test", "*"):
        answer = await seller.get("/exports", headers={"Origin": origin})
        assert not {name for name in answer.headers if name.startswith("access-control-")} - {
            "access-control-expose-headers"
        }


LOOKALIKES = [
    "https://shop.example.evil.example",
    "https://evilshop.example",
    "http://shop.example",
    "https://shop.example:8443",
    "https://SHOP.example",
    "null",
]


async def test_no_origin_that_only_looks_like_a_configured_one_may(start: Start) -> None:
    async with start(cors_origins=SHOP) as (client, _):
        for origin in LOOKALIKES:
            headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
            assert (await client.options("/exports", headers=headers)).status_code == 400
            answer = await client.get("/exports", headers={"Origin": origin} | bearer(mint()))
            assert "access-control-allow-origin" not in answer.headers


async def test_cookies_are_never_asked_for(start: Start) -> None:
    async with start(cors_origins=SHOP) as (client, _):
        answer = await client.get("/exports", headers={"Origin": SHOP} | bearer(mint()))
        assert "access-control-allow-credentials" not in answer.headers
        assert "set-cookie" not in answer.headers


@asynccontextmanager
async def behind(
    start: Start, prefix: str = "", client: str = "127.0.0.1", **changes: Any
) -> AsyncIterator[AsyncClient]:
    """Start the application as uvicorn runs it behind a proxy and yield a client of seller 1.

    ``prefix`` is what the proxy takes off each path (``--root-path``), ``client`` what its
    forwarding header says.
    """
    async with start(**changes) as (direct, _):
        app = direct._transport.app  # type: ignore[attr-defined]
        transport = ASGITransport(app, root_path=prefix, client=(client, 0))
        async with AsyncClient(
            transport=transport, base_url=f"http://exports.test{prefix}", headers=bearer(mint())
        ) as proxied:
            yield proxied


async def test_behind_a_prefix_every_address_has_it(start: Start) -> None:
    async with behind(start, "/lists", demo=True, docs_enabled=True) as client:
        made = await client.post("/exports", json={"follower": True})
        assert made.headers["location"] == f"/lists/exports/{made.json()['id']}"
        widget = await client.get("/widget.js")
        assert widget.headers["content-location"].startswith("/lists/widget-")
        assert (await client.get("/widget-old.js")).headers["location"] == "/lists/widget.js"
        old = await client.get("/widget/old/styles.js")
        assert re.fullmatch(r"/lists/widget/\w{16}/styles.js", old.headers["location"])
        docs = await client.get("/docs")
        assert "/lists/openapi.json" in docs.text
        assert "script-src" in docs.headers["content-security-policy"]
        page = (await client.get("/")).text
        assert not re.search(r"""(?:href|src)=["']/""", page)
        for name in ("demo.css", "demo.js", "demo.svg", "widget.js", "demo/token", "demo/mails"):
            assert (await client.get(f"/{name}")).status_code == 200
        html = {"Accept": "text/html"}
        assert "<h1>" in (await client.get("/d/forged", headers=html)).text
        stats = await client.get("/stats", headers=html)
        assert "http://exports.test/lists/stats" in stats.text


@pytest.mark.parametrize(
    ("said", "noted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:443", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("unknown", None),
        ("<script>", None),
        ("_hidden", None),
        ("192.0.2.7, 203.0.113.9", None),
        ("999.1.1.1", None),
        ("", None),
    ],
)
async def test_what_is_no_address_is_not_noted_as_one(
    start: Start, said: str, noted: str | None
) -> None:
    async with behind(start, client=said) as client:
        made = (await client.post("/exports", json={"follower": True})).json()
        service = bearer(mint_for_service())
        audit = await client.get(f"/exports/{made['id']}/audit", headers=service)
    assert audit.json()["items"][0]["client_address"] == noted


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP, identity"])
async def test_an_encoded_body_is_refused_by_name(seller: AsyncClient, encoding: str) -> None:
    answer = await seller.post(
        "/exports", json={"follower": True}, headers={"Content-Encoding": encoding}
    )
    assert_problem(answer, 415, "unsupported_media_type")
