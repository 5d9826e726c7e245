"""Workers as processes, with a database, a queue, a bucket and a mailbox per test."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from urllib.parse import urlsplit

import pytest

from app.database.database import Database
from app.models import Export
from devstack.sandbox import Process, Sandbox
from devstack.service_processes import start_worker
from tests.exports.conftest import connection, create_export, database, reload, settings, storefront
from tests.polling import HANGS_S, until
from tests.proxy import Proxy, open_proxy

__all__ = ["connection", "create_export", "database", "settings", "storefront"]

Ask = Callable[..., Awaitable[Export]]
numbers = count(1)

QUICK = {
    "LEASE_S": "1",
    "HEARTBEAT_S": "0.2",
    "RECOVERY_INTERVAL_S": "0.2",
    "RETRY_BASE_S": "0.1",
    "RETRY_MAX_S": "0.1",
    "MAIL_LEASE_S": "5",
}
"""Settings with timeouts and intervals of about a second instead of half a minute."""


class WorkerHarness:
    """Starts workers and waits for their effects."""

    def __init__(self, sandbox: Sandbox, environment: dict[str, str], database: Database) -> None:
        self.environment = environment
        self._sandbox = sandbox
        self._database = database
        self._workers: list[Process] = []

    async def start(self, **changes: str) -> Process:
        """Start a worker with some settings changed, and wait until it consumes the queue."""
        worker = await asyncio.to_thread(
            start_worker,
            self._sandbox,
            self.environment | changes,
            name=f"test-worker-{next(numbers)}",
        )
        self._workers.append(worker)
        return worker

    async def stop_all(self) -> None:
        """Kill every remaining worker."""
        for worker in self._workers:
            await asyncio.to_thread(worker.kill)

    async def until_status(
        self, export: Export, *statuses: str, within_s: float = 2 * HANGS_S
    ) -> Export:
        """Wait until an export is in one of some states and return it."""

        async def is_there() -> bool:
            return (await reload(self._database, export)).status in statuses

        await until(is_there, within_s)
        return await reload(self._database, export)

    async def until_mailed(self, export: Export, within_s: float = 2 * HANGS_S) -> Export:
        """Wait until an export's mail was sent and return it."""

        async def is_sent() -> bool:
            return (await reload(self._database, export)).email_status == "sent"

        await until(is_sent, within_s)
        return await reload(self._database, export)


async def until_ended(worker: Process, within_s: float = HANGS_S) -> int:
    """Wait until a worker has ended and return its exit status."""

    async def has_ended() -> bool:
        return worker.exit_status is not None

    await until(has_ended, within_s)
    status = worker.exit_status
    assert status is not None
    return status


def send(worker: Process, number: signal.Signals) -> None:
    """Send a worker a signal."""
    os.kill(worker.pid, number)


@pytest.fixture
async def harness(
    sandbox: Sandbox, service_environment: dict[str, str], database: Database
) -> AsyncIterator[WorkerHarness]:
    """Workers on this test's servers, with short timeouts."""
    harness = WorkerHarness(sandbox, service_environment | QUICK, database)
    yield harness
    await harness.stop_all()


@pytest.fixture
async def store_proxy(service_environment: dict[str, str]) -> AsyncIterator[Proxy]:
    """A fault proxy in front of the test's bucket."""
    port = urlsplit(service_environment["S3_ENDPOINT_URL"]).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        yield proxy


@pytest.fixture
def far_store(store_proxy: Proxy) -> dict[str, str]:
    """The setting with which a worker uses the proxy."""
    return {"S3_ENDPOINT_URL": f"http://127.0.0.1:{store_proxy.port}"}
