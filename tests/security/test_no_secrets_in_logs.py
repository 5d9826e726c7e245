"""Nothing that only its owner may know is in a log, on the queue or in a problem document."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Monitor

from app.concurrency import cancel_and_wait
from app.database.connections import Connection, connect
from tests.audience.storefront import Storefront
from tests.conftest import RunningService
from tests.polling import until
from tests.tokens import bearer, mint

MEMBER = "quiet-member@secret.example"
RECIPIENT = "quiet-recipient@secret.example"
OWNER = "quiet-owner@secret.example"
REFUSAL = f"550 5.1.1 <{RECIPIENT}>: no such mailbox"

ADDRESS = re.compile(r"[\w.+-]+@(?!smtp_envelope)[\w-]+\.[a-z]{2,}")


@pytest.fixture
async def connection(running_service: RunningService) -> AsyncIterator[Connection]:
    """A connection to the service's database."""
    connection = await connect(running_service.names["DATABASE_URL"])
    yield connection
    await connection.close()


@pytest.fixture
async def client(running_service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the service's token."""
    headers = bearer(running_service.names["SERVICE_TOKEN"])
    async with httpx.AsyncClient(
        base_url=running_service.url, headers=headers, timeout=60
    ) as client:
        yield client


def said(service: RunningService) -> str:
    """Return everything that the API and the worker have written."""
    return "".join(each.log.read_text(errors="replace") for each in (service.api, service.worker))


@pytest.fixture
async def queued(running_service: RunningService) -> AsyncIterator[list[str]]:
    """Every command that Redis is given, with what it carries."""
    commands: list[str] = []

    async def listen(monitor: Monitor) -> None:
        async for each in monitor.listen():
            commands.append(each["command"])  # noqa: PERF401 - it is read while it grows

    async with (
        Redis.from_url(running_service.names["REDIS_URL"]) as redis,
        redis.monitor() as monitor,
    ):
        listening = asyncio.create_task(listen(monitor))
        yield commands
        await cancel_and_wait(listening)


async def create_export(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    """Ask for an export and return it when its mail has been settled."""
    body = {"seller_id": 1, "recipient_email": RECIPIENT, "follower": True} | changes
    export: dict[str, Any] = (await client.post("/exports", json=body)).json()

    async def settled() -> bool:
        nonlocal export
        export = (await client.get(f"/exports/{export['id']}?wait=5")).json()
        is_mailed = export["email"] is not None and export["email"]["status"] != "pending"
        return export["status"] in ("succeeded", "failed") and is_mailed

    await until(settled, within_s=60)
    return export


async def break_everything(client: httpx.AsyncClient, connection: Connection, link: str) -> None:
    """Let the API answer 4xx and 500 to requests full of what it must not repeat."""
    token = mint(email=OWNER)
    await client.get("/exports", headers=bearer(token))
    await client.get(f"/exports?token={token}&cursor={OWNER}")
    await client.post("/exports", json={"follower": True, "recipient_email": f"{OWNER}\r\nX: y"})
    await client.post("/exports", content=f'{{"x": "{OWNER}"', headers={"Idempotency-Key": OWNER})
    await client.get(f"/d/{link[:-1]}")
    # A check that fails makes PostgreSQL quote the row in its answer, and the API answer 500.
    await connection.execute(
        "ALTER TABLE export_audit ADD CONSTRAINT none CHECK (action = 'never') NOT VALID"
    )
    assert (await client.get(f"/d/{link}")).status_code == 500
    failed = await client.post(
        "/exports", json={"seller_id": 1, "recipient_email": OWNER, "customer": True}
    )
    assert failed.status_code == 500
    assert OWNER not in failed.text
    await connection.execute("ALTER TABLE export_audit DROP CONSTRAINT none")


async def test_logs_and_queue_keep_what_they_are_not_told(
    running_service: RunningService,
    client: httpx.AsyncClient,
    connection: Connection,
    queued: list[str],
) -> None:
    await Storefront(connection).follow(MEMBER)
    export = await create_export(client)
    link = urlsplit(export["download_url"]).path.removeprefix("/d/")
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        file = await browser.get(export["download_url"])
    assert MEMBER in file.text
    running_service.smtp.reply(REFUSAL)
    assert (await create_export(client, bom=True))["email"]["status"] == "failed"
    await break_everything(client, connection, link)
    metrics = (await client.get("/metrics")).text
    await client.delete(f"/exports/{export['id']}")
    running_service.worker.stop()
    running_service.api.stop()

    assert any("arq:job:" in command for command in queued), "the queue was meant to be output"
    output = "\n".join((said(running_service), metrics, *queued))
    names = running_service.names
    for secret in (MEMBER, RECIPIENT, OWNER, "secret.example", link, link[:-1]):
        assert secret not in output
    for name in ("SERVICE_TOKEN", "LINK_SECRET", "AUTH_JWT_SECRET", "AWS_SECRET_ACCESS_KEY"):
        assert names[name] not in output
    assert ADDRESS.search(output) is None
    assert "X-Amz-" not in output
    assert "eyJ" not in output
    assert "Traceback" in output, "the failures were meant to be logged"
    assert "/d/[token]" in output
    assert "[address]" in output
