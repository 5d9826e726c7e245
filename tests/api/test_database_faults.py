"""The API while PostgreSQL refuses: 503 until it does no more, and never 500."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
from httpx import AsyncClient, Response

from app.database.connections import connect
from devstack.postgres import PostgresServer
from devstack.sandbox import Sandbox
from tests.api.conftest import Start
from tests.api.problem_documents import assert_problem
from tests.database.test_sessions import HOSTILE
from tests.polling import until
from tests.proxy import Proxy, open_proxy
from tests.roles import PASSWORD, Role, created_role
from tests.tokens import bearer, mint

POOL_SIZE = 2
SESSIONS = 2 * POOL_SIZE


@pytest.fixture
def role(postgres: PostgresServer, database_url: str) -> Iterator[Role]:
    """The role that the API has."""
    with created_role(postgres, database_url) as role:
        yield role


@pytest.fixture
async def client(start: Start, role: Role) -> AsyncIterator[AsyncClient]:
    """A seller's client of an API with that role."""
    async with start(database_url=role.url) as (client, _):
        client.headers.update(bearer(mint()))
        yield client


async def create_export(client: AsyncClient, number: int = 0) -> Response:
    """Ask for an export, each a new one."""
    headers = {"Idempotency-Key": f"key-{number}"}
    return await client.post("/exports", json={"follower": True}, headers=headers)


async def assert_away(client: AsyncClient) -> None:
    """Fail unless every answer that needs the database says that it is unavailable."""
    for answer in (
        await client.get("/exports"),
        await client.get("/audience"),
        await create_export(client),
    ):
        assert_problem(answer, 503, "database_unavailable")
        assert answer.headers["retry-after"] == "5"
    answer = await client.get("/readyz")
    assert_problem(answer, 503, "not_ready")
    assert answer.json()["checks"]["database"] == "unreachable"
    assert (await client.get("/metrics")).status_code == 200


async def assert_back(client: AsyncClient) -> None:
    """Fail unless everything is well again."""
    assert (await client.get("/exports")).status_code == 200
    assert (await create_export(client)).status_code in (200, 202)
    assert (await client.get("/readyz")).status_code == 200


async def test_a_password_that_is_rotated(client: AsyncClient, role: Role) -> None:
    await assert_back(client)
    role.change_password("another")
    await assert_away(client)
    role.change_password(PASSWORD)
    await assert_back(client)


async def test_a_database_that_lets_nobody_in(
    client: AsyncClient, role: Role, postgres: PostgresServer
) -> None:
    await assert_back(client)
    postgres.execute(f"REVOKE CONNECT ON DATABASE {role.database} FROM PUBLIC")
    role.end_sessions()
    await assert_away(client)
    postgres.execute(f"GRANT CONNECT ON DATABASE {role.database} TO PUBLIC")
    await assert_back(client)


async def test_a_database_that_is_renamed_away(
    client: AsyncClient, role: Role, postgres: PostgresServer
) -> None:
    await assert_back(client)
    role.end_sessions()
    postgres.execute(f"ALTER DATABASE {role.database} RENAME TO {role.database}_away")
    await assert_away(client)
    postgres.execute(f"ALTER DATABASE {role.database}_away RENAME TO {role.database}")
    await assert_back(client)


async def test_settings_of_the_role_that_would_cut_everything_off(start: Start, role: Role) -> None:
    role.limit(HOSTILE)
    async with start(database_url=role.url) as (client, _):
        client.headers.update(bearer(mint()))
        for _ in range(3):
            await assert_back(client)
            await asyncio.sleep(0.05)


@pytest.fixture
def replica(
    sandbox: Sandbox, postgres: PostgresServer, database_url: str
) -> Iterator[PostgresServer]:
    """A standby that has the test's database: what a demoted primary has become."""
    server = PostgresServer(sandbox, name="demoted", primary=postgres)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def address(replica: PostgresServer) -> AsyncIterator[Proxy]:
    """One address that leads to the standby, until it is changed."""
    async with open_proxy("127.0.0.1", replica.port) as proxy:
        yield proxy


async def test_sessions_of_a_demoted_primary_fail_once_each(
    start: Start, address: Proxy, postgres: PostgresServer, database_url: str
) -> None:
    port = urlsplit(database_url).port
    url = database_url.replace(f":{port}/", f":{address.port}/")

    async def has_copied() -> bool:
        connection = await connect(url)
        found = await connection.fetchval("SELECT to_regclass('exports')")
        await connection.close()
        return found is not None

    await until(has_copied)
    async with start(database_url=url, database_pool_size=POOL_SIZE) as (client, _):
        client.headers.update(bearer(mint()))
        before = await asyncio.gather(*(client.get("/exports") for _ in range(5 * SESSIONS)))
        assert {answer.status_code for answer in before} == {200}
        assert_problem(await create_export(client), 503, "database_unavailable")
        address.lead_to("127.0.0.1", postgres.port)
        answers = [
            answer
            for _ in range(10)
            for answer in await asyncio.gather(
                *(client.post("/exports", json={"follower": True}) for _ in range(SESSIONS))
            )
        ]
        failed = [answer for answer in answers if answer.status_code not in (200, 202)]
        assert len(failed) <= SESSIONS
        for answer in failed:
            assert_problem(answer, 503, "database_unavailable")
        assert {answer.status_code for answer in answers[-2 * SESSIONS :]} <= {200, 202}
