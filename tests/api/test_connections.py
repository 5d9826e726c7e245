"""Connections that mean harm: heads without an end, trailers, peers that send or read nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from fastapi import Request
from fastapi.responses import StreamingResponse
from httpx import AsyncClient

from app.api import connections
from app.api.connections import HEAD_BYTES_MAX, limit_connections
from app.api.openapi import ExportAPI
from app.api.problems import MEDIA_TYPE
from tests.api.streams import served
from tests.hostile import MIB, measured_memory

PIECE = b"x" * 65536
TIMEOUT_S = 60


def application() -> ExportAPI:
    """Return an application that answers, reads, and never stops answering."""
    limit_connections()
    app = ExportAPI()

    @app.get("/small")
    async def small() -> str:
        return "small"

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield PIECE
                await asyncio.sleep(0)

        return StreamingResponse(pieces())

    return app


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """A client of the application on a real socket, which has no time limit at its end."""
    async with asyncio.timeout(TIMEOUT_S), served(application(), grace_s=None) as client:
        yield client


@asynccontextmanager
async def connection(
    client: AsyncClient, *, receive_bytes: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a connection that keeps no more than ``receive_bytes`` of what it has not read."""
    peer = socket.socket()
    if receive_bytes is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    peer.setblocking(False)
    address = client.base_url.host, client.base_url.port
    await asyncio.get_running_loop().sock_connect(peer, address)
    reader, writer = await asyncio.open_connection(sock=peer, limit=1024)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer_to(client: AsyncClient, head: bytes, endless: bytes) -> bytes:
    """Send without an end, and return what was answered before the connection ended."""
    answer = b""
    async with connection(client) as (reader, writer):
        with suppress(ConnectionError):
            writer.write(head)
            for _ in range(2048):
                writer.write(endless)
                await writer.drain()
                answer += await read_now(reader)
        with suppress(ConnectionError):
            answer += await reader.read()
    return answer


async def read_now(reader: asyncio.StreamReader) -> bytes:
    """Return what has arrived already."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.001):
            return await reader.read(65536)
    return b""


ENDLESS_HEADS = {
    "headers": (b"GET /small HTTP/1.1\r\n", b"X-Header: x\r\n" * 5000),
    "a header": (b"GET /small HTTP/1.1\r\nX-Header: ", PIECE),
    "a header's name": (b"GET /small HTTP/1.1\r\n", PIECE),
    "a path": (b"GET /", PIECE),
    "a query": (b"GET /small?", b"a=b&" * 10_000),
    "a method": (b"", PIECE),
    "empty lines": (b"", b"\r\n" * 10_000),
}


@pytest.mark.parametrize("name", ENDLESS_HEADS)
async def test_a_head_without_an_end_is_refused_in_little_memory(
    client: AsyncClient, name: str
) -> None:
    with measured_memory() as memory:
        answer = await answer_to(client, *ENDLESS_HEADS[name])
    assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")
    assert memory.peak < 16 * MIB
    assert (await client.get("/small")).status_code == 200


async def test_too_many_headers_are_a_problem_document(client: AsyncClient) -> None:
    answer = await answer_to(client, b"GET /small HTTP/1.1\r\n" + b"A: b\r\n" * 250, b"")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"content-type: " + MEDIA_TYPE.encode() in head
    assert b'"code": "headers_too_large"' in body


async def test_a_large_head_in_pieces_is_taken(client: AsyncClient) -> None:
    async with connection(client) as (reader, writer):
        writer.write(b"GET /small HTTP/1.1\r\nHost: x\r\n")
        for number in range(30):
            writer.write(b"X-%d: " % number + b"x" * (HEAD_BYTES_MAX // 40) + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("endless", [b"1\r\nx\r\n" * 10_000, b"0\r\n" + b"X-Trailer: x\r\n" * 5000])
async def test_a_body_or_trailers_without_an_end_break_off(
    client: AsyncClient, endless: bytes
) -> None:
    head = b"GET /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with measured_memory() as memory:
        await answer_to(client, head, endless)
    assert memory.peak < 16 * MIB


async def test_bodies_and_requests_one_after_the_other_are_taken(client: AsyncClient) -> None:
    body = b"x" * 8 * MIB
    for _ in range(3):
        assert (await client.post("/length", content=body)).json() == len(body)
    request = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"
    async with connection(client) as (reader, writer):
        writer.write(request * 500)
        for _ in range(500):
            await reader.readuntil(b'"small"')


@pytest.mark.parametrize("head", [b"", b"GET /small HT", b"GET /small HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_does_not_come_ends_the_connection(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(connections, "CHECK_INTERVAL_S", 0.2)
    async with connection(client) as (reader, writer):
        writer.write(head)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")


async def test_a_peer_that_reads_nothing_is_broken_off(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CHECK_INTERVAL_S", 0.5)
    with measured_memory() as memory:
        async with connection(client, receive_bytes=4096) as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of sockets
            writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            await until_broken_off(writer)
    assert memory.peak < 16 * MIB


async def test_a_slow_reader_is_not_broken_off(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CHECK_INTERVAL_S", 0.3)
    async with connection(client, receive_bytes=65536) as (reader, writer):
        writer.write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(60):
            await reader.readexactly(65536)
            await asyncio.sleep(0.02)


async def test_a_peer_that_reads_nothing_does_not_keep_the_server_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "SHUTDOWN_TIMEOUT_S", 0.5)
    async with asyncio.timeout(TIMEOUT_S):
        async with served(application(), grace_s=None) as client:
            peer = await connection(client, receive_bytes=4096).__aenter__()
            peer[1].transport.pause_reading()  # type: ignore[attr-defined]  # as above
            peer[1].write(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.2)
        peer[1].transport.abort()


async def until_broken_off(writer: asyncio.StreamWriter) -> None:
    """Write until the other side has broken the connection off."""
    with suppress(ConnectionError):
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)
