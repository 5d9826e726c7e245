"""Names with several addresses: one that is silent or refuses keeps nobody from the next."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from app.adapters.dialing import dial
from app.adapters.redis.connections import redis_pool
from app.adapters.smtp.address import SmtpAddress
from app.adapters.smtp.inspection import Sender, inspect
from app.adapters.smtp.mailer import SmtpMailer
from devstack.smtp import SmtpServer

NAME = "server.example"


@contextmanager
def dead_route(port: int) -> Iterator[str]:
    """Yield an address at which connecting to ``port`` hangs, as where packets are dropped."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.2", port))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


def name(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let ``NAME`` have these addresses."""
    usual = socket.getaddrinfo

    def resolve(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != NAME or "flags" in options:
            return usual(host, port, *arguments, **options)
        return [each for at in addresses for each in usual(at, port, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize("first", ["::1", "127.0.0.3", None])
async def test_redis_and_the_mail_server_are_reached_at_their_second_address(
    redis_url: str, smtp_server: SmtpServer, monkeypatch: pytest.MonkeyPatch, first: str | None
) -> None:
    parts = urlsplit(redis_url)
    mail = urlsplit(smtp_server.url)
    assert parts.port is not None
    assert mail.port is not None
    with ExitStack() as stack:
        if first is None:
            for port in (parts.port, mail.port):
                first = stack.enter_context(dead_route(port))
        assert first is not None
        name(monkeypatch, first, "127.0.0.1")
        pool = redis_pool(redis_url.replace("127.0.0.1", NAME))
        assert await Redis(connection_pool=pool).ping()
        await pool.aclose()
        address = SmtpAddress(NAME, mail.port)
        mailer = SmtpMailer(address)
        await mailer.check()
        await mailer.aclose()
        assert await inspect(address, Sender("example.com", "exports@example.com")) is None


async def test_a_name_whose_addresses_all_refuse_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name(monkeypatch, "127.0.0.2", "127.0.0.3")
    async with asyncio.timeout(60):
        with pytest.raises(OSError, match=r"Connect call failed|Multiple exceptions"):
            await dial(NAME, 9)
