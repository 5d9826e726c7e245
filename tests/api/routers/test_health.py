"""Alive and ready: with everything there, with each thing away."""

import asyncio

import pytest
from httpx import AsyncClient

from app import readiness
from app.resources import Resources
from tests.api.conftest import Start
from tests.api.problem_documents import assert_problem

NOBODY = "127.0.0.1:1"

AWAY = {
    "database": {"database_url": f"postgresql://user@{NOBODY}/none"},
    "queue": {"redis_url": f"redis://{NOBODY}"},
    "bucket": {"s3_endpoint_url": f"http://{NOBODY}"},
}


async def test_the_service_is_ready_when_everything_can_be_reached(anonymous: AsyncClient) -> None:
    answer = await anonymous.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {"database": "reachable", "queue": "reachable", "bucket": "reachable"},
    }


@pytest.mark.parametrize("name", AWAY)
async def test_the_service_says_what_it_cannot_reach(start: Start, name: str) -> None:
    async with start(**AWAY[name]) as (client, _):
        answer = await client.get("/readyz")
        assert_problem(answer, 503, "not_ready")
        assert name in answer.json()["detail"]
        assert answer.headers["retry-after"] == "5"
        unreachable = {k for k, v in answer.json()["checks"].items() if v == "unreachable"}
        assert unreachable == {name}


async def test_an_unexpected_error_is_no_reason_for_500(
    running: tuple[AsyncClient, Resources], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, resources = running

    async def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(resources.queue, "check", broken)
    answer = await client.get("/readyz")
    assert_problem(answer, 503, "not_ready")
    assert answer.json()["checks"]["queue"] == "unreachable"


async def test_what_does_not_answer_in_time_is_out_of_reach(
    running: tuple[AsyncClient, Resources], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, resources = running

    async def silent() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(readiness, "CHECK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(resources.queue, "check", silent)
    answer = await client.get("/readyz")
    assert_problem(answer, 503, "not_ready")
    assert answer.json()["checks"]["queue"] == "unreachable"


async def test_a_missing_bucket_is_out_of_reach(start: Start) -> None:
    async with start(s3_bucket="no-such-bucket") as (client, _):
        answer = await client.get("/readyz")
        assert_problem(answer, 503, "not_ready")
        assert answer.json()["checks"]["bucket"] == "unreachable"


async def test_the_service_starts_and_is_alive_while_everything_is_unavailable(
    start: Start,
) -> None:
    away = {name: value for changes in AWAY.values() for name, value in changes.items()}
    async with start(**away) as (client, _):
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
        assert_problem(await client.get("/readyz"), 503, "not_ready")
