"""Encrypted connections to PostgreSQL and Redis: verified, or none at all."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from app.adapters.redis.queue import open_queue
from app.database.connections import create_engine
from app.database.database import Database
from app.errors import DatabaseUnavailable, QueueUnavailable
from devstack.certificates import Certificate, issue
from tests.adapters.settings import settings_with

SSL_REQUEST_BYTES = 8
"""What a client of PostgreSQL sends first to ask for TLS; the answer is one S."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for the loopback address."""
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate by an authority that nobody trusts."""
    return issue(tmp_path_factory.mktemp("stranger"))


@asynccontextmanager
async def tls_before(url: str, certificate: Certificate, *, asks_first: bool) -> AsyncIterator[int]:
    """Yield a port that speaks TLS for the server at ``url``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.server)
    target = urlsplit(url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if asks_first:
                await reader.readexactly(SSL_REQUEST_BYTES)
                writer.write(b"S")
                await writer.start_tls(context)
            other_reader, other_writer = await asyncio.open_connection(target.hostname, target.port)
            await asyncio.gather(pump(reader, other_writer), pump(other_reader, writer))
        writer.close()

    encrypted = None if asks_first else context
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=encrypted) as server:
        yield server.sockets[0].getsockname()[1]


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more."""
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


def at(url: str, port: int, query: str) -> str:
    """Return an address with another port and query."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{credentials}@127.0.0.1:{port}", query=query).geturl()


async def answer_of_database(url: str) -> int | None:
    """Return what SELECT 1 gives."""
    database = Database(create_engine(url, pool_size=1))
    try:
        async with database.engine.begin() as connection:
            one: int | None = await connection.scalar(text("SELECT 1"))
            return one
    finally:
        await database.close()


async def check_queue(url: str) -> None:
    """Return when Redis answers."""
    async with open_queue(settings_with(redis_url=url)) as queue:
        await queue.check()


def verified(authority: Path) -> str:
    return f"sslmode=verify-full&sslrootcert={authority}"


async def test_postgresql_is_reached_over_verified_tls(
    database_url: str, certificate: Certificate
) -> None:
    async with tls_before(database_url, certificate, asks_first=True) as port:
        url = at(database_url, port, verified(certificate.authority))
        assert await answer_of_database(url) == 1


async def test_a_postgresql_that_nobody_vouches_for_gets_no_password(
    database_url: str, certificate: Certificate, stranger: Certificate
) -> None:
    async with tls_before(database_url, stranger, asks_first=True) as port:
        url = at(database_url, port, verified(certificate.authority))
        with pytest.raises(DatabaseUnavailable):
            await answer_of_database(url)


async def test_a_postgresql_without_tls_gets_no_password(
    database_url: str, certificate: Certificate
) -> None:
    port = urlsplit(database_url).port
    assert port is not None
    with pytest.raises(DatabaseUnavailable):
        await answer_of_database(at(database_url, port, verified(certificate.authority)))


async def test_redis_is_reached_over_verified_tls(redis_url: str, certificate: Certificate) -> None:
    async with tls_before(redis_url, certificate, asks_first=False) as port:
        url = at(redis_url, port, f"ssl_ca_certs={certificate.authority}")
        await check_queue(url.replace("redis://", "rediss://"))


async def test_a_redis_that_nobody_vouches_for_gets_no_password(
    redis_url: str, certificate: Certificate, stranger: Certificate
) -> None:
    async with tls_before(redis_url, stranger, asks_first=False) as port:
        url = at(redis_url, port, f"ssl_ca_certs={certificate.authority}")
        with pytest.raises(QueueUnavailable):
            await check_queue(url.replace("redis://", "rediss://"))
