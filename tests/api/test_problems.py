"""Problem documents: every error has one, and none says too much."""

from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy.exc import DBAPIError

from app import errors
from app.api.problems import RETRY_AFTER_S, add_exception_handlers, status_of
from tests.api.problem_documents import assert_problem

SECRET = "a secret of ours"

LOST = DBAPIError("SELECT", {}, asyncpg.ConnectionDoesNotExistError(SECRET))
BUGS = {
    "statement": DBAPIError("SELECT", {}, asyncpg.UndefinedColumnError(SECRET)),
    "file": FileNotFoundError(SECRET),
    "code": KeyError(SECRET),
}

RAISED: dict[str, tuple[Exception, int, str]] = {
    "storage": (errors.StorageUnavailable("The store is unavailable."), 503, "storage_unavailable"),
    "refused": (errors.StorageRefused("The bucket is missing."), 500, "storage_refused"),
    "keys": (errors.JwksUnavailable("No keys."), 503, "keys_unavailable"),
    "lost": (LOST, 503, "database_unavailable"),
    "busy": (DBAPIError("", {}, asyncpg.SerializationError(SECRET)), 503, "source_busy"),
    "full": (asyncpg.TooManyConnectionsError(SECRET), 503, "database_unavailable"),
    "cancelled": (asyncpg.QueryCanceledError(SECRET), 503, "database_unavailable"),
    "login": (asyncpg.InvalidPasswordError(SECRET), 503, "database_unavailable"),
    "read-only": (
        DBAPIError("", {}, asyncpg.ReadOnlySQLTransactionError(SECRET)),
        503,
        "database_unavailable",
    ),
    "queue": (errors.QueueFull("Too many wait.", 7), 503, "queue_full"),
    "quota": (errors.QuotaExceeded("Too many.", 0), 429, "quota_exceeded"),
}


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """A client of an application that raises whatever its path names."""
    app = FastAPI()
    add_exception_handlers(app)

    @app.get("/raise/{name}")
    async def fail(name: str) -> None:
        raise RAISED[name][0]

    @app.get("/bug/{name}")
    async def bug(name: str) -> None:
        raise BUGS[name]

    transport = ASGITransport(app, raise_app_exceptions=False)
    async with AsyncClient(transport=transport, base_url="http://exports.test") as client:
        yield client


@pytest.mark.parametrize("name", RAISED)
async def test_an_error_becomes_its_status_and_keeps_its_code(
    client: AsyncClient, name: str
) -> None:
    _, status, code = RAISED[name]
    answer = await client.get(f"/raise/{name}")
    assert_problem(answer, status, code)
    assert SECRET not in answer.text


@pytest.mark.parametrize(("name", "seconds"), [("storage", RETRY_AFTER_S), ("queue", 7)])
async def test_a_temporary_error_says_when_to_come_back(
    client: AsyncClient, name: str, seconds: int
) -> None:
    assert (await client.get(f"/raise/{name}")).headers["retry-after"] == str(seconds)


async def test_nobody_is_told_to_come_back_at_once(client: AsyncClient) -> None:
    assert (await client.get("/raise/quota")).headers["retry-after"] == "1"


@pytest.mark.parametrize("name", BUGS)
async def test_an_unexpected_error_says_nothing_of_what_it_was(
    client: AsyncClient, name: str
) -> None:
    answer = await client.get(f"/bug/{name}")
    assert_problem(answer, 500, "internal")
    assert SECRET not in answer.text
    assert "retry-after" not in answer.headers


async def test_an_unknown_address_or_method_is_a_problem_too(anonymous: AsyncClient) -> None:
    assert_problem(await anonymous.get("/nothing"), 404, "not_found")
    assert_problem(await anonymous.get("/exports/"), 404, "not_found")
    answer = await anonymous.put("/exports")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, POST"
    answer = await anonymous.patch(f"/exports/{uuid4()}")
    assert answer.headers["allow"] == "GET, HEAD, DELETE"


def test_every_error_has_a_status() -> None:
    pending: list[type[errors.ServiceError]] = [errors.ServiceError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        assert 400 <= status_of(kind)[0] < 600
