"""A TCP proxy in front of a real server that injects network faults.

It is independent of the protocol: a fault strikes when a chunk from the client matches a
pattern, such as the headers of an HTTP request or a command of SMTP or Redis. That works as
long as each is one write, as with all clients here. Example::

    async with open_proxy("127.0.0.1", port) as proxy:
        proxy.fault(Answer(503), on=rb"PUT /[^ ]*partNumber=2", times=1)
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from devstack.sandbox import free_port

CHUNK_BYTES = 64 * 1024
SEEN_BYTES = 2048
EXECUTE = rb"E\x00{3}\t\x00{5}S\x00{3}\x04$"
"""Matches Execute and Sync: run a statement and, outside a transaction, commit it
(PostgreSQL, "Message Formats")."""

CONTENT_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Reset:
    """Reset the connection (RST); the server does not receive this request.

    With ``after_bytes`` it receives that many bytes of it first.
    """

    after_bytes: int = 0


@dataclass(frozen=True)
class Close:
    """Close the connection cleanly, without a response; the server receives nothing."""


@dataclass(frozen=True)
class Answer:
    """Respond instead of the server, which receives nothing, and close.

    ``raw`` is sent as it is; without it, HTTP with ``status`` and ``body``.
    """

    status: int = 503
    body: bytes = b""
    raw: bytes | None = None

    @property
    def wire(self) -> bytes:
        """The bytes of the response."""
        if self.raw is not None:
            return self.raw
        head = f"HTTP/1.1 {self.status} Fault\r\nContent-Type: application/xml\r\n"
        length = f"Content-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        return (head + length).encode() + self.body


@dataclass(frozen=True)
class CutAnswer:
    """Forward the request, but reset the connection during the response.

    ``after_bytes`` of the response arrive; by default none.
    """

    after_bytes: int = 0


@dataclass(frozen=True)
class Delay:
    """Forward the request, and delay the response."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Stop reading and never respond; the connection stays open."""


@dataclass(frozen=True)
class Flip:
    """Forward the request with the first byte of what matches inverted."""


Action = Reset | Close | Answer | CutAnswer | Delay | Hang | Flip


@dataclass
class Fault:
    """An action for the next ``times`` matching requests; for all of them with ``None``."""

    action: Action
    on: re.Pattern[bytes]
    times: int | None
    struck: int = 0

    def flipped(self, data: bytes) -> bytes:
        """Return a chunk with the first byte of the match inverted."""
        match = self.on.search(data)
        at = match.start() if match else 0
        return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]

    def strikes(self, data: bytes) -> bool:
        """Return whether this request is struck, and count it."""
        if self.struck == self.times or self.on.search(data) is None:
            return False
        self.struck += 1
        return True


class Proxy:
    """Forwards traffic between clients of ``port`` and the server.

    ``seen`` holds the beginning and the end of each chunk from clients; ``accepted``
    counts connections.
    """

    def __init__(self, server_host: str, server_port: int) -> None:
        self.port = free_port()
        self.seen: list[bytes] = []
        self.accepted = 0
        self._to = server_host, server_port
        self._faults: list[Fault] = []
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    def fault(self, action: Action, *, on: bytes = b"", times: int | None = 1) -> Fault:
        """Apply ``action`` to requests that match ``on``; the latest fault has priority."""
        fault = Fault(action, re.compile(on, re.DOTALL), times)
        self._faults.insert(0, fault)
        return fault

    def lead_to(self, server_host: str, server_port: int) -> None:
        """Forward new connections to another server; existing ones stay."""
        self._to = server_host, server_port

    def heal(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def count(self, pattern: bytes) -> int:
        """Return the number of chunks from clients that match the pattern."""
        return sum(re.search(pattern, chunk, re.DOTALL) is not None for chunk in self.seen)

    def drop(self) -> None:
        """Reset every connection; new ones are accepted."""
        for connection in self._connections.values():
            connection.reset()

    async def start(self) -> None:
        """Listen, on the same port each time: no outgoing connection can take it meanwhile."""
        self._listener = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, limit=CHUNK_BYTES
        )

    async def stop(self) -> None:
        """Refuse new connections and reset existing ones, like a crashed server."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        # asyncio accepts in two steps, and leaves a transport behind if it closes between them.
        for each in listener.sockets:
            asyncio.get_running_loop().remove_reader(each)
        await asyncio.sleep(0)
        listener.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._listener is None:
            return _abort(writer)
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(self, reader, writer)
        self._connections[task] = connection
        try:
            await connection.run(*self._to)
        except asyncio.CancelledError:
            if self._listener is not None:
                raise
        finally:
            connection.reset()
            del self._connections[task]

    def strike(self, data: bytes) -> Fault | None:
        """Return the fault that strikes this chunk from a client, if any."""
        short = len(data) <= 2 * SEEN_BYTES
        self.seen.append(data if short else data[:SEEN_BYTES] + data[-SEEN_BYTES:])
        return next((fault for fault in self._faults if fault.strikes(data)), None)


class Connection:
    """One client's connection through a proxy."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._client = reader, writer
        self._writers = [writer]
        self._answer_bytes_left: int | None = None
        self._hold_s = 0.0

    async def run(self, host: str, port: int) -> None:
        """Forward bytes both ways until either side closes."""
        try:
            server = await asyncio.open_connection(host, port)
        except OSError:
            return
        self._writers.append(server[1])
        pumps = [
            asyncio.create_task(self._ask(self._client[0], server[1])),
            asyncio.create_task(self._answer(server[0], self._client[1])),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def reset(self) -> None:
        """Reset both sides: unsent bytes are lost, and the peer gets an RST."""
        for writer in self._writers:
            _abort(writer)

    async def _ask(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await client.read(CHUNK_BYTES):
            fault = self._proxy.strike(data)
            match fault.action if fault else None:
                case Reset(after_bytes):
                    await _send(server, data[:after_bytes])
                    return
                case Close():
                    return await self._close()
                case Answer() as answer:
                    return await self._answer_instead(answer, data)
                case Hang():
                    await asyncio.Event().wait()
                case CutAnswer(after_bytes):
                    self._answer_bytes_left = after_bytes
                case Delay(seconds):
                    self._hold_s = seconds
                case Flip() if fault:
                    data = fault.flipped(data)
            await _send(server, data)
        with contextlib.suppress(OSError):
            server.write_eof()
        await asyncio.Event().wait()  # the server may have more to say

    async def _answer(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await server.read(CHUNK_BYTES):
            hold_s, self._hold_s = self._hold_s, 0.0
            await asyncio.sleep(hold_s)
            if self._answer_bytes_left is None:
                await _send(client, data)
                continue
            await _send(client, data[: self._answer_bytes_left])
            self._answer_bytes_left -= len(data)
            if self._answer_bytes_left <= 0:
                return
        await self._close()

    async def _answer_instead(self, answer: Answer, request: bytes) -> None:
        """Read the whole request first: the client may not read a response earlier."""
        reader, writer = self._client
        head, _, body = request.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        left = int(length[1]) - len(body) if length else 0
        while left > 0 and (data := await reader.read(CHUNK_BYTES)):
            left -= len(data)
        await _send(writer, answer.wire)
        await self._close()

    async def _close(self) -> None:
        """Close the client's side cleanly, after all sent bytes."""
        writer = self._client[1]
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(OSError):
        writer.write(data)
        await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    if writer.transport.is_closing():
        return
    peer: socket.socket | None = writer.get_extra_info("socket")
    if peer is not None:
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def open_proxy(server_host: str, server_port: int) -> AsyncIterator[Proxy]:
    """Yield a proxy in front of the server, on a free port."""
    proxy = Proxy(server_host, server_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
