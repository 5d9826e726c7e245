"""A TCP proxy between a client and a real server that does what networks do.

It speaks no protocol. A fault strikes when what a client sends matches: with
HTTP the head of a request, with SMTP or Redis a command, as long as each
comes as one write, which all clients here do. Example::

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

CHUNK_BYTES = 64 * 1024
SEEN_BYTES = 2048
EXECUTE = rb"E\x00{3}\t\x00{5}S\x00{3}\x04$"
"""PostgreSQL is told to run a statement and, outside of a transaction, to commit it
(Execute and Sync; PostgreSQL, "Message Formats")."""

CONTENT_LENGTH = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Reset:
    """Break the connection off (RST); the server never sees this request.

    With ``after_bytes`` it gets that many bytes of it first.
    """

    after_bytes: int = 0


@dataclass(frozen=True)
class Close:
    """Close the connection in good order, without an answer; the server sees nothing."""


@dataclass(frozen=True)
class Answer:
    """Answer in the server's place, which sees nothing, and close.

    ``raw`` is sent as it is; without, it is HTTP with ``status`` and ``body``.
    """

    status: int = 503
    body: bytes = b""
    raw: bytes | None = None

    @property
    def wire(self) -> bytes:
        """The bytes of the answer."""
        if self.raw is not None:
            return self.raw
        head = f"HTTP/1.1 {self.status} Fault\r\nContent-Type: application/xml\r\n"
        length = f"Content-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        return (head + length).encode() + self.body


@dataclass(frozen=True)
class CutAnswer:
    """Let the server do it, but break the connection off in its answer.

    ``after_bytes`` of the answer arrive; none means that it is lost whole.
    """

    after_bytes: int = 0


@dataclass(frozen=True)
class Delay:
    """Let the server do it, and hold its answer for so long."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Read nothing more and answer nothing; the connection stays open."""


Action = Reset | Close | Answer | CutAnswer | Delay | Hang


@dataclass
class Fault:
    """An action that strikes ``times`` requests that match; always where it is ``None``."""

    action: Action
    on: re.Pattern[bytes]
    times: int | None
    struck: int = 0

    def strikes(self, data: bytes) -> bool:
        """Return whether this request is struck, and count it."""
        if self.struck == self.times or self.on.search(data) is None:
            return False
        self.struck += 1
        return True


class Proxy:
    """Passes on what clients send to ``port`` and what the server answers.

    ``seen`` holds the beginning and the end of each chunk that clients sent; ``opened``
    counts connections.
    """

    def __init__(self, server_host: str, server_port: int) -> None:
        self.port = 0
        self.seen: list[bytes] = []
        self.opened = 0
        self._to = server_host, server_port
        self._faults: list[Fault] = []
        self._listener: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    def fault(self, action: Action, *, on: bytes = b"", times: int | None = 1) -> Fault:
        """Let ``action`` strike requests that match the pattern ``on``; the latest goes first."""
        fault = Fault(action, re.compile(on, re.DOTALL), times)
        self._faults.insert(0, fault)
        return fault

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def count(self, pattern: bytes) -> int:
        """Return how many chunks that clients sent match the pattern."""
        return sum(re.search(pattern, chunk, re.DOTALL) is not None for chunk in self.seen)

    def drop(self) -> None:
        """Break off every connection there is; new ones are welcome."""
        for connection in self._connections.values():
            connection.reset()

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._listener = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, limit=CHUNK_BYTES
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and break off those there are, as a server that died."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
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

    def strike(self, data: bytes) -> Action | None:
        """Return what shall happen to this chunk from a client."""
        short = len(data) <= 2 * SEEN_BYTES
        self.seen.append(data if short else data[:SEEN_BYTES] + data[-SEEN_BYTES:])
        return next((fault.action for fault in self._faults if fault.strikes(data)), None)


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
        """Pass bytes both ways until either side is done."""
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
        """Break both sides off: what was not sent is lost, and the peer gets an RST."""
        for writer in self._writers:
            _abort(writer)

    async def _ask(self, client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await client.read(CHUNK_BYTES):
            match self._proxy.strike(data):
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
        """Read the request to its end first: a client may not listen before."""
        reader, writer = self._client
        head, _, body = request.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        left = int(length[1]) - len(body) if length else 0
        while left > 0 and (data := await reader.read(CHUNK_BYTES)):
            left -= len(data)
        await _send(writer, answer.wire)
        await self._close()

    async def _close(self) -> None:
        """Close the client's side in good order, all sent bytes included."""
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
    """Yield a proxy before the server, on a port of its own."""
    proxy = Proxy(server_host, server_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
