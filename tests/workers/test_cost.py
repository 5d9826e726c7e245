"""What a small export costs: statements, calls and connections, counted on the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.ending import end
from app.exports.exporter import Exporter
from app.exports.requests import request_export
from app.exports.telling import ring
from app.models import Export
from app.resources import Resources, open_resources
from tests.exports.conftest import reread, wish
from tests.proxy import Proxy, open_proxy
from tests.waiting import until
from workers.chores import outbox
from workers.floor import Floor, Places
from workers.settings import create_worker

SERVERS = ("database_url", "redis_url", "s3_endpoint_url", "smtp_url")
SIMPLE_QUERY = rb"^Q"
EXECUTE = rb"E\x00{3}\t\x00.{4}S\x00{3}\x04$"

STATEMENTS = 9
"""The estimate; the seller's turn, what decides, the export, its audit; the claim; the
snapshot's instant; the success with its mail taken; the mail sent."""

SIMPLE = 5
"""BEGIN and COMMIT of the request; of the snapshot, BEGIN with its settings, COPY, COMMIT."""

REDIS_CALLS = 5
"""The ring; the job taken, and off the queue; the news of the claim and of the success."""

MAIL_COMMANDS = 4
"""MAIL, RCPT, DATA and the content."""


@dataclass(frozen=True)
class Wire:
    """The service in this process, and a listener before each server."""

    resources: Resources
    servers: dict[str, Proxy]

    async def export(self, number: int, engine: AsyncEngine) -> Export:
        """Perform an export from the request to the mail and return the row."""
        opened, request = self.resources, wish(recipient_email=f"{number}@example.com")
        asked = await request_export(
            opened.engine, opened.audience_engine, opened.settings, request, None
        )
        await ring(opened.queue, asked.export)

        async def is_mailed() -> bool:
            return (await reread(engine, asked.export)).email_status == "sent"

        await until(is_mailed)
        return asked.export


@pytest.fixture
async def wire(settings: Settings) -> AsyncIterator[Wire]:
    """A worker without its chores, between proxies."""
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
            resources.engine,
            resources.audience_engine,
            resources.storage,
            resources.queue,
            resources.news,
            far,
            worker="tests",
        )
        floor = Floor(exporter, outbox(resources), Places(far), group)
        worker = create_worker(far, floor, "small")
        worker.poll_delay_s = 0.01
        listening = group.create_task(worker.async_run())
        yield Wire(resources, servers)
        await end(listening)
        await floor.close(5)
        await worker.pool.aclose(close_connection_pool=True)


async def test_a_small_export_costs_what_it_must(wire: Wire, engine: AsyncEngine) -> None:
    await wire.export(1, engine)  # opens what is kept
    for proxy in wire.servers.values():
        proxy.seen.clear()
    kept = {name: wire.servers[name].opened for name in ("database_url", "smtp_url")}
    export = await wire.export(2, engine)
    database, redis, store, mail = (wire.servers[name] for name in SERVERS)
    assert {name: wire.servers[name].opened for name in kept} == kept
    assert (database.count(EXECUTE), database.count(SIMPLE_QUERY)) == (STATEMENTS, SIMPLE)
    assert redis.count(str(export.id).encode()) == REDIS_CALLS
    assert store.count(rb" HTTP/1.1\r\n") == store.count(rb"^PUT /") == 1
    assert len(mail.seen) == MAIL_COMMANDS
