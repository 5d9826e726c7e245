"""Who may do what: every endpoint with every kind of caller."""

from dataclasses import dataclass

import pytest
from httpx import AsyncClient
from starlette.routing import Route

from app.main import ROUTERS
from app.resources import Resources
from tests.api.problem_documents import assert_problem
from tests.api.records import Records
from tests.tokens import bearer, mint, mint_for_service

CALLERS: dict[str, dict[str, str]] = {
    "nobody": {},
    "expired": bearer(mint(exp=1)),
    "other": bearer(mint(seller_id=2, email="seller2@example.com")),
    "read-only": bearer(mint(scope="exports:read")),
    "write-only": bearer(mint(scope="exports:write")),
    "no scope": bearer(mint(scope="")),
    "own": bearer(mint()),
    "service": bearer(mint_for_service()),
    "service for nobody": bearer(mint_for_service(scope="exports:read exports:write")),
}


@dataclass(frozen=True)
class Row:
    """An endpoint about seller 1's export, and the status for each caller, in their order.

    A second caller who asks for the same export is answered with the first one's.
    The demo runs, but without a mailbox.
    """

    method: str
    path: str
    statuses: tuple[int, ...]


MATRIX = [
    Row("POST", "/exports", (401, 401, 403, 403, 202, 403, 200, 200, 403)),
    Row("GET", "/exports", (401, 401, 200, 200, 403, 403, 200, 200, 403)),
    Row("GET", "/exports/{id}", (401, 401, 404, 200, 403, 403, 200, 200, 403)),
    Row("GET", "/exports/{id}/download", (401, 401, 404, 307, 403, 403, 307, 307, 403)),
    Row("HEAD", "/exports/{id}/download", (401, 401, 404, 200, 403, 403, 200, 200, 403)),
    Row("GET", "/exports/{id}/audit", (401, 401, 403, 403, 403, 403, 403, 200, 403)),
    Row("GET", "/exports/{id}/events", (401, 401, 404, 200, 403, 403, 200, 200, 403)),
    Row("POST", "/exports/{id}/email", (401, 401, 404, 403, 202, 403, 202, 202, 403)),
    Row("DELETE", "/exports/{id}", (401, 401, 404, 403, 200, 403, 200, 200, 403)),
    Row("GET", "/audience", (401, 401, 200, 200, 403, 403, 200, 422, 403)),
    Row("POST", "/audience/events", (401, 401, 403, 403, 403, 403, 403, 403, 403)),
    Row("GET", "/d/{token}", (302,) * 9),
    Row("HEAD", "/d/{token}", (200,) * 9),
    Row("GET", "/healthz", (200,) * 9),
    Row("GET", "/readyz", (200,) * 9),
    Row("GET", "/metrics", (200,) * 9),
    Row("GET", "/stats", (401, 401, 403, 403, 403, 403, 403, 200, 403)),
    Row("GET", "/widget.js", (200,) * 9),
    Row("GET", "/widget-{version}.js", (302,) * 9),
    Row("GET", "/widget/{path:path}", (404,) * 9),
    Row("GET", "/widget.d.ts", (200,) * 9),
    Row("GET", "/", (200,) * 9),
    Row("GET", "/demo.{kind}", (200,) * 9),
    Row("GET", "/demo/token", (200,) * 9),
    Row("GET", "/demo/members", (200,) * 9),
    Row("GET", "/demo/mails", (200,) * 9),
    Row("GET", "/demo/mails/{name}", (404,) * 9),
]

BODY = {"follower": True, "seller_id": 1, "recipient_email": "seller1@example.com"}


def test_every_endpoint_has_a_row() -> None:
    endpoints = {
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    assert endpoints == {(row.method, row.path) for row in MATRIX}


@pytest.mark.parametrize("row", MATRIX, ids=lambda row: f"{row.method} {row.path}")
async def test_each_caller_gets_its_status(
    row: Row, anonymous: AsyncClient, records: Records, resources: Resources
) -> None:
    export = await records.add("succeeded")
    token = resources.links.token(export.key)
    path = row.path.replace(":path", "").format(
        id=export.id, token=token, version="old", kind="js", name="none", path="none"
    )
    body = BODY if row.method == "POST" else None
    got = {
        caller: (await anonymous.request(row.method, path, headers=headers, json=body)).status_code
        for caller, headers in CALLERS.items()
    }
    assert got == dict(zip(CALLERS, row.statuses, strict=True))


async def test_each_caller_lists_what_it_may_know_of(
    anonymous: AsyncClient, records: Records
) -> None:
    for seller_id in (1, 2, 3):
        await records.add("failed", seller_id=seller_id)
    for caller, sellers in {"own": [1], "other": [2], "service": [3, 2, 1]}.items():
        answer = await anonymous.get("/exports", headers=CALLERS[caller])
        assert [item["seller_id"] for item in answer.json()["items"]] == sellers


NO_BEARER_TOKENS = [
    "",
    "Bearer",
    "Bearer ",
    "Basic dXNlcjpwYXNz",
    "Bearer x",
    "Bearer a.b.c",
    f"Token {mint()}",
    f"Bearer {mint()} {mint()}",
    f"Bearer {mint()},",
    "Bearer é.é.é",
]


async def test_what_is_no_bearer_token_is_refused_with_a_challenge(
    anonymous: AsyncClient, subtests: pytest.Subtests
) -> None:
    for header in NO_BEARER_TOKENS:
        with subtests.test(header=header):
            answer = await anonymous.get("/exports", headers={b"Authorization": header.encode()})
            assert_problem(answer, 401, "token_invalid")
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_without_a_token_the_challenge_names_no_error(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/exports")
    assert_problem(answer, 401, "token_invalid")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_two_tokens_are_none(anonymous: AsyncClient) -> None:
    twice = [("Authorization", f"Bearer {mint()}")] * 2
    assert_problem(await anonymous.get("/exports", headers=twice), 401, "token_invalid")


async def test_the_word_bearer_is_read_in_any_case(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/exports", headers={"Authorization": f"bearer  {mint()}"})
    assert answer.status_code == 200


async def test_a_missing_scope_is_named_in_the_challenge(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/exports", headers=bearer(mint(scope="exports:write")))
    assert_problem(answer, 403, "scope_missing")
    challenge = 'Bearer error="insufficient_scope", scope="exports:read"'
    assert answer.headers["www-authenticate"] == challenge


async def test_nothing_of_a_request_is_read_before_its_token(anonymous: AsyncClient) -> None:
    answer = await anonymous.post(
        "/exports", content=b"{" * 100_000, headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 401, "token_invalid")


async def test_a_sellers_token_with_every_scope_is_still_that_sellers(
    anonymous: AsyncClient, records: Records
) -> None:
    other = await records.add("failed", seller_id=2)
    headers = bearer(mint(scope="exports:read exports:write sellers:all"))
    assert (await anonymous.get(f"/exports/{other.id}", headers=headers)).status_code == 404
    assert (await anonymous.get("/exports", headers=headers)).json()["items"] == []
