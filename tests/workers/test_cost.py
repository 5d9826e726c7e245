"""What a small export costs: statements, calls and connections, counted on the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from app.concurrency import cancel_and_wait
from app.config import Settings
from app.database.database import Database
from app.exports.execution.exporter import Exporter
from app.exports.notifications import enqueue_export
from app.exports.submission.submit import submit_export
from app.models import Export
from app.resources import Resources, open_resources
from tests.exports.conftest import make_request, reload
from tests.polling import until
from tests.proxy import Proxy, open_proxy
from workers.arq_worker import create_worker
from workers.executor import ExecutionSlots, ExportExecutor
from workers.maintenance import build_outbox

SERVERS = ("database_url", "redis_url", "s3_endpoint_url", "smtp_url")
SIMPLE_QUERY = rb"^Q"
EXECUTE = rb"E\x00{3}\t\x00.{4}S\x00{3}\x04$"

STATEMENTS = 10
"""The estimate; the seller's turn, what decides, the export, its audit; the claim; the
snapshot's instant; the success with its mail taken; the mail let go, and sent."""

SIMPLE = 5
"""BEGIN and COMMIT of the request; of the snapshot, BEGIN with its settings, COPY, COMMIT."""

REDIS_CALLS = 4
"""Enqueue; take the job; publish the claim and the success."""

MAIL_COMMANDS = 4
"""MAIL, RCPT, DATA and the content."""


@dataclass(frozen=True)
class InstrumentedService:
    """The service in this process, and a listener before each server."""

    resources: Resources
    servers: dict[str, Proxy]

    async def export(self, number: int, database: Database) -> Export:
        """Perform an export from the request to the mail and return the row."""
        resources, request = self.resources, make_request(recipient_email=f"{number}@example.com")
        result = await submit_export(
            resources.database, resources.audience_database, resources.settings, request, None
        )
        await enqueue_export(resources.queue, result.export)

        async def is_mailed() -> bool:
            return (await reload(database, result.export)).email_status == "sent"

        await until(is_mailed)
        return result.export


@pytest.fixture
async def wire(settings: Settings) -> AsyncIterator[InstrumentedService]:
    """A worker without its periodic tasks, between proxies."""
    async with AsyncExitStack() as stack:
        servers, urls = {}, {}
        for name in SERVERS:
            value = getattr(settings, name)
            url = value.get_secret_value() if name == "smtp_url" else value
            port = urlsplit(url).port
            proxy = await stack.enter_async_context(open_proxy("127.0.0.1", port))
            servers[name], urls[name] = proxy, url.replace(f":{port}", f":{proxy.port}", 1)
        far = Settings.model_validate(settings.model_dump() | urls)
        resources = await stack.enter_async_context(open_resources(far))
        group = await stack.enter_async_context(asyncio.TaskGroup())
        exporter = Exporter(
            resources.database,
            resources.audience_database,
            resources.storage,
            resources.queue,
            resources.export_events,
            far,
            worker="tests",
        )
        executor = ExportExecutor(exporter, build_outbox(resources), ExecutionSlots(far), group)
        worker = create_worker(far, executor, "small")
        worker.poll_delay_s = 0.01
        listening = group.create_task(worker.async_run())
        yield InstrumentedService(resources, servers)
        await cancel_and_wait(listening)
        await executor.close(5)
        await worker.pool.aclose(close_connection_pool=True)


async def test_a_small_export_costs_what_it_must(
    wire: InstrumentedService, database: Database
) -> None:
    await wire.export(1, database)  # opens what is reused
    for proxy in wire.servers.values():
        proxy.seen.clear()
    reused = {name: wire.servers[name].accepted for name in ("database_url", "smtp_url")}
    export = await wire.export(2, database)
    postgres, redis, store, mail = (wire.servers[name] for name in SERVERS)
    assert {name: wire.servers[name].accepted for name in reused} == reused
    assert (postgres.count(EXECUTE), postgres.count(SIMPLE_QUERY)) == (STATEMENTS, SIMPLE)
    assert redis.count(str(export.id).encode()) == REDIS_CALLS
    assert store.count(rb" HTTP/1.1\r\n") == store.count(rb"^PUT /") == 1
    assert len(mail.seen) == MAIL_COMMANDS
