"""A worker that freezes anywhere: another goes on, and what thaws changes nothing.

Each request of the worker to its database, its store and its mail server is
held until the worker is frozen, which therefore sleeps at that very await.
"""

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from app.database.connections import Connection
from app.database.database import Database
from app.models import Export
from devstack.s3 import Store
from devstack.sandbox import Process
from devstack.smtp import SmtpServer
from tests.exports.conftest import reload
from tests.polling import until
from tests.proxy import Delay, Proxy, open_proxy
from tests.workers.conftest import Ask, WorkerHarness, send

SERVERS = {"database": "DATABASE_URL", "store": "S3_ENDPOINT_URL", "mail": "SMTP_URL"}

HELD_S = 2.0
LARGE_SELLER = 2

ATTEMPT_POINTS = {
    "claiming": ("database", rb"SET status = 'running'"),
    "reading": ("database", rb"COPY \("),
    "storing": ("store", rb"^PUT /"),
    "recording success": ("database", rb"SET status = 'succeeded'"),
}

UPLOAD_POINTS = {
    "beginning an upload": ("store", rb"^POST /\S+\?uploads"),
    "storing a part": ("store", rb"^PUT /\S+partNumber=1"),
    "completing an upload": ("store", rb"^POST /\S+\?uploadId"),
}

MAIL_POINTS = {
    "greeting the mail server": ("mail", rb"^EHLO"),
    "naming the sender": ("mail", rb"^MAIL FROM"),
    "sending the content": ("mail", rb"^DATA"),
}

WINDOW_POINTS = {
    "waiting for the mail server's word": ("mail", rb"Message-ID:"),
    "recording that the mail was sent": ("database", rb"SET email_status = 'sent'"),
}


@dataclass(frozen=True)
class Pair:
    """Two workers; the first is watched on its way to each server."""

    watched: Process
    other: Process
    proxies: dict[str, Proxy]
    workshop: WorkerHarness

    async def freeze_at(self, server: str, request: bytes) -> None:
        """Let the watched worker alone work, and freeze it when it has sent a request."""
        proxy = self.proxies[server]
        before = proxy.count(request)
        proxy.fault(Delay(HELD_S), on=request)

        async def has_sent() -> bool:
            return proxy.count(request) > before

        await until(has_sent)
        send(self.watched, signal.SIGSTOP)


@pytest.fixture
async def pair(harness: WorkerHarness) -> AsyncIterator[Pair]:
    """Two workers on the same servers, the first behind proxies."""
    async with AsyncExitStack() as stack:
        proxies, far = {}, {}
        for name, setting in SERVERS.items():
            url = harness.environment[setting]
            port = urlsplit(url).port
            assert port is not None
            proxies[name] = await stack.enter_async_context(open_proxy("127.0.0.1", port))
            far[setting] = url.replace(f":{port}", f":{proxies[name].port}")
        far |= {"PART_BYTES": str(5 * 1024 * 1024)}
        watched = await harness.start(**far)
        yield Pair(watched, await harness.start(), proxies, harness)


@dataclass(frozen=True)
class Servers:
    """The test's own view: rows, bucket and mailbox."""

    database: Database
    connection: Connection
    store: Store
    smtp: SmtpServer

    async def is_tidy(self) -> bool:
        """Whether the bucket holds the exports' files and nothing else."""
        keys = await self.connection.fetchval("SELECT array_agg(object_key) FROM exports")
        uncleaned = await self.connection.fetchval(
            "SELECT count(*) FROM exports WHERE uncleaned_attempts <> '{}'"
        )
        with self.store.client() as client:
            objects = client.list_objects_v2(Bucket=self.store.bucket).get("Contents", [])
            uploads = client.list_multipart_uploads(Bucket=self.store.bucket).get("Uploads", [])
        stored = sorted(item["Key"] for item in objects)
        return uncleaned == 0 and not uploads and stored == sorted(keys)

    def message_ids(self, export: Export) -> list[bytes]:
        """Return the Message-ID of each mail about an export."""
        mails = (path.read_bytes() for path in self.smtp.messages())
        return [
            line
            for mail in mails
            for line in mail.splitlines()
            if line.startswith(b"Message-ID:") and str(export.id).encode() in line
        ]


@pytest.fixture
def servers(
    database: Database, connection: Connection, moto_store: Store, smtp_server: SmtpServer
) -> Servers:
    """The test's own view."""
    return Servers(database, connection, moto_store, smtp_server)


async def pass_point(
    pair: Pair, servers: Servers, export: Export, point: tuple[str, bytes]
) -> tuple[Export, Export]:
    """Freeze one worker there, let the other end the export, thaw the first.

    Return the export as the other left it and as it is when the first has
    come to itself, which its ending another export shows.
    """
    await pair.freeze_at(*point)
    send(pair.other, signal.SIGCONT)
    left = await pair.workshop.until_mailed(export, within_s=30)
    send(pair.other, signal.SIGSTOP)
    send(pair.watched, signal.SIGCONT)
    await until(servers.is_tidy, within_s=30)
    return left, await reload(servers.database, export)


async def check_points(
    pair: Pair,
    servers: Servers,
    create_export: Ask,
    points: dict[str, tuple[str, bytes]],
    mails_max: int,
) -> None:
    """Freeze the watched worker at each point in turn, at work on its own export."""
    for number, (name, point) in enumerate(points.items()):
        send(pair.other, signal.SIGSTOP)
        seller_id = LARGE_SELLER if points is UPLOAD_POINTS else 1
        export = await create_export(recipient_email=f"{number}@example.com", seller_id=seller_id)
        left, now = await pass_point(pair, servers, export, point)
        assert now == left, name
        ids = servers.message_ids(export)
        assert 1 <= len(ids) <= mails_max, name
        assert len(set(ids)) == 1, name
        probe = await create_export(recipient_email=f"probe{number}@example.com")
        await pair.workshop.until_mailed(probe)
        assert now == await reload(servers.database, export), name
        assert pair.watched.exit_status is None, pair.watched.log_tail()


async def test_a_worker_frozen_in_an_attempt_changes_nothing_later(
    pair: Pair, servers: Servers, create_export: Ask
) -> None:
    await check_points(pair, servers, create_export, ATTEMPT_POINTS, mails_max=1)


async def test_a_worker_frozen_in_an_upload_leaves_none_behind(
    pair: Pair, servers: Servers, create_export: Ask
) -> None:
    await servers.connection.execute(
        """
        INSERT INTO followers (seller_id, email, created_at, confirmed_at)
        SELECT $1, repeat('a', 220) || number || '@x.co', now(), now()
        FROM generate_series(1, 30000) AS number
        """,
        LARGE_SELLER,
    )
    await check_points(pair, servers, create_export, UPLOAD_POINTS, mails_max=1)


async def test_a_worker_frozen_before_the_mail_s_content_sends_none(
    pair: Pair, servers: Servers, create_export: Ask
) -> None:
    await check_points(pair, servers, create_export, MAIL_POINTS, mails_max=1)


async def test_a_worker_frozen_after_the_mail_s_content_repeats_its_message_id(
    pair: Pair, servers: Servers, create_export: Ask
) -> None:
    await check_points(pair, servers, create_export, WINDOW_POINTS, mails_max=2)
