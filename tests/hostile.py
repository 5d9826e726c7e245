"""Hostile servers that send without end or very slowly, and the memory that they cost."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass
class HostilePeer:
    """A server, with the number of connections accepted and bytes sent."""

    port: int = 0
    connections: int = 0
    sent_bytes: int = 0


@asynccontextmanager
async def hostile_peer(
    head: bytes, endless: bytes, *, pause_s: float = 0.0
) -> AsyncIterator[HostilePeer]:
    """Yield a server that answers each connection with ``head``, then ``endless`` for ever.

    It reads everything it is sent. ``pause_s`` passes before each repetition.
    """
    peer = HostilePeer()
    talks: set[asyncio.Task[None]] = set()

    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            await asyncio.sleep(pause_s)
            writer.write(endless)
            await writer.drain()
            peer.sent_bytes += len(endless)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        flooding = asyncio.create_task(flood(writer))
        talks.add(flooding)
        with suppress(OSError):
            while await reader.read(65536):
                pass
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for each in talks:
            each.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@dataclass
class Memory:
    """Peak bytes of Python objects, beyond those at the start."""

    peak: int = 0


@contextmanager
def measured_memory() -> Iterator[Memory]:
    """Measure what this process allocates while the context is open."""
    memory = Memory()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield memory
    finally:
        memory.peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
