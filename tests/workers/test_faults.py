"""PostgreSQL may refuse anything: the worker's process continues, and so do exports."""

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from app.database.connections import Connection
from devstack.postgres import PostgresServer
from tests.database.test_sessions import HOSTILE
from tests.polling import until
from tests.roles import PASSWORD, Role, created_role
from tests.workers.conftest import Ask, WorkerHarness

UNUSED = (
    "source_keys",
    "import_totals",
    "projection_verifications",
    "webhook_endpoints",
    "webhook_deliveries",
)
"""Tables that an export of a seller's own never touches."""

CANCEL = """
    SELECT pg_cancel_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> ''
"""


@pytest.fixture
def role(postgres: PostgresServer, database_url: str) -> Iterator[Role]:
    """The role that the worker has."""
    with created_role(postgres, database_url) as role:
        yield role


@pytest.fixture
def of_role(role: Role) -> dict[str, str]:
    """The settings of a worker with that role."""
    return {"DATABASE_URL": role.url, "AUDIENCE_DATABASE_URL": role.url}


async def test_cancelled_statements_cost_attempts_and_nothing_else(
    harness: WorkerHarness, create_export: Ask, connection: Connection
) -> None:
    worker = await harness.start()
    exports = [await create_export(recipient_email=f"{number}@example.com") for number in range(5)]
    for _ in range(200):
        await connection.execute(CANCEL)
        await asyncio.sleep(0.01)
    for export in exports:
        await harness.until_mailed(export, within_s=60)
    assert worker.exit_status is None
    assert "Traceback" not in worker.log.read_text()


async def test_a_password_that_is_rotated_stops_the_worker_only_for_as_long(
    harness: WorkerHarness, create_export: Ask, role: Role, of_role: dict[str, str]
) -> None:
    worker = await harness.start(**of_role)
    await harness.until_mailed(await create_export())
    role.change_password("another")
    export = await create_export(recipient_email="later@example.com")

    async def is_refused() -> bool:
        return "database_unavailable" in worker.log.read_text()

    await until(is_refused)
    role.change_password(PASSWORD)
    await harness.until_mailed(export, within_s=60)
    assert worker.exit_status is None
    assert "Traceback" not in worker.log.read_text()


async def test_no_setting_of_the_role_stops_an_export(
    harness: WorkerHarness, create_export: Ask, role: Role, of_role: dict[str, str]
) -> None:
    role.limit(HOSTILE)
    worker = await harness.start(**of_role)
    for number in range(3):
        await harness.until_mailed(await create_export(recipient_email=f"{number}@example.com"))
    assert worker.exit_status is None


async def test_a_missing_right_stops_nothing_that_does_not_need_it(
    harness: WorkerHarness, create_export: Ask, role: Role, of_role: dict[str, str]
) -> None:
    role.revoke(*UNUSED)
    worker = await harness.start(**of_role, CLEANUP_INTERVAL_S="0.2")
    for number in range(3):
        await harness.until_mailed(await create_export(recipient_email=f"{number}@example.com"))
    assert worker.exit_status is None
    log = worker.log.read_text()
    assert "unexpected error" in log
    assert "permission denied for table source_keys" in log


async def test_a_missing_right_on_exports_stops_them_only_for_as_long(
    harness: WorkerHarness, create_export: Ask, role: Role, of_role: dict[str, str]
) -> None:
    role.revoke("exports")
    worker = await harness.start(**of_role)
    export = await create_export()

    async def is_refused() -> bool:
        return "permission denied for table exports" in worker.log.read_text()

    await until(is_refused)
    role.grant("exports")
    await harness.until_mailed(export, within_s=60)
    assert worker.exit_status is None


async def test_a_database_that_lets_nobody_in_is_waited_for(
    harness: WorkerHarness,
    create_export: Ask,
    role: Role,
    of_role: dict[str, str],
    postgres: PostgresServer,
) -> None:
    worker = await harness.start(**of_role)
    await harness.until_mailed(await create_export())
    database = urlsplit(role.url).path.removeprefix("/")
    postgres.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    role.end_sessions()
    export = await create_export(recipient_email="later@example.com")

    async def is_refused() -> bool:
        return "does not let the service in" in worker.log.read_text()

    await until(is_refused)
    postgres.execute(f"GRANT CONNECT ON DATABASE {database} TO PUBLIC")
    await harness.until_mailed(export, within_s=60)
    assert worker.exit_status is None
