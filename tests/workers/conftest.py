"""Workers as processes of their own, on the test's own database, queue, bucket and mailbox."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from urllib.parse import urlsplit

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.models import Export
from devstack.sandbox import Process, Sandbox
from devstack.service import start_worker
from tests.exports.conftest import ask, connection, engine, reread, settings, storefront
from tests.proxy import Proxy, open_proxy
from tests.waiting import until

__all__ = ["ask", "connection", "engine", "settings", "storefront"]

Ask = Callable[..., Awaitable[Export]]
numbers = count(1)

QUICK = {
    "LEASE_S": "1",
    "HEARTBEAT_S": "0.2",
    "SWEEP_S": "0.2",
    "RETRY_BASE_S": "0.1",
    "RETRY_MAX_S": "0.1",
    "MAIL_LEASE_S": "5",
}
"""Settings under which everything that takes half a minute takes a second."""


class Workshop:
    """Starts workers and looks at what they do."""

    def __init__(self, sandbox: Sandbox, environment: dict[str, str], engine: AsyncEngine) -> None:
        self.environment = environment
        self._sandbox = sandbox
        self._engine = engine
        self._workers: list[Process] = []

    async def start(self, **changes: str) -> Process:
        """Start a worker with some settings changed and wait until it listens."""
        worker = await asyncio.to_thread(
            start_worker,
            self._sandbox,
            self.environment | changes,
            name=f"test-worker-{next(numbers)}",
        )
        self._workers.append(worker)
        return worker

    async def stop_all(self) -> None:
        """Kill what is still there."""
        for worker in self._workers:
            await asyncio.to_thread(worker.kill)

    async def until_status(self, export: Export, *statuses: str, within_s: float = 20) -> Export:
        """Wait until an export is in one of some states and return it."""

        async def is_there() -> bool:
            return (await reread(self._engine, export)).status in statuses

        await until(is_there, within_s)
        return await reread(self._engine, export)

    async def until_mailed(self, export: Export, within_s: float = 20) -> Export:
        """Wait until an export's mail was sent and return it."""

        async def is_sent() -> bool:
            return (await reread(self._engine, export)).email_status == "sent"

        await until(is_sent, within_s)
        return await reread(self._engine, export)


async def until_ended(worker: Process, within_s: float) -> int:
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
async def workshop(
    sandbox: Sandbox, service_environment: dict[str, str], engine: AsyncEngine
) -> AsyncIterator[Workshop]:
    """Workers on the test's own servers, with quick settings."""
    workshop = Workshop(sandbox, service_environment | QUICK, engine)
    yield workshop
    await workshop.stop_all()


@pytest.fixture
async def store_proxy(service_environment: dict[str, str]) -> AsyncIterator[Proxy]:
    """A bad network before the test's own bucket, for workers that are told of it."""
    port = urlsplit(service_environment["S3_ENDPOINT_URL"]).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as proxy:
        yield proxy


@pytest.fixture
def far_store(store_proxy: Proxy) -> dict[str, str]:
    """The setting that leads a worker over the bad network."""
    return {"S3_ENDPOINT_URL": f"http://127.0.0.1:{store_proxy.port}"}
