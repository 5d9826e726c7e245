"""The subset of HTTP/1.1 that the store needs; bodies are counted and dropped."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qs, unquote, urlsplit

BUFFER_BYTES = 1024 * 1024
HEAD_END = b"\r\n\r\n"
HEAD_BYTES_MAX = 64 * 1024
LARGE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Request:
    """A request; of its body only the length, ``body_bytes``, is kept.

    ``query`` holds each parameter's first value, or an empty string.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def body_bytes(self) -> int:
        """The length of the body."""
        return int(self.headers.get("content-length", "0"))

    @classmethod
    def parse(cls, head: bytes) -> "Request":
        """Read a request line and header fields, whose names become lower case."""
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query, True).items()}
        fields = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        return cls(method, unquote(parts.path), query, headers)


@dataclass(frozen=True)
class Answer:
    """A response; ``length`` is the Content-Length where no body is sent (HEAD)."""

    status: HTTPStatus = HTTPStatus.OK
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None

    def encode(self) -> bytes:
        """Return the bytes to send."""
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status is not HTTPStatus.NO_CONTENT:
            length = len(self.body) if self.length is None else self.length
            lines.append(f"Content-Length: {length}")
        return "\r\n".join(lines).encode() + HEAD_END + self.body


class Connection(asyncio.BufferedProtocol):
    """One client's connection; bodies are counted in the receive buffer, not stored.

    The response to a large body is delayed by ``delay_s``.
    """

    def __init__(self, answer: Callable[[Request], Answer], delay_s: float = 0) -> None:
        self._answer = answer
        self._delay_s = delay_s
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._head = b""
        self._request: Request | None = None
        self._left = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the only buffer; its previous contents are processed."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Process received bytes: the rest of a body, then further requests."""
        start = 0
        while start < nbytes:
            if self._request is None:
                start = self._take_head(start, nbytes)
            else:
                taken = min(self._left, nbytes - start)
                start += taken
                self._left -= taken
            if self._request is not None and self._left == 0:
                self._finish(self._request)

    def _take_head(self, start: int, end: int) -> int:
        """Read the request head; return where the body begins, ``end`` while it is incomplete."""
        seen = len(self._head)
        self._head += bytes(self._buffer[start:end])
        at = self._head.find(HEAD_END)
        if at < 0:
            if len(self._head) > HEAD_BYTES_MAX:
                self._send(Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), close=True)
            return end
        self._begin(Request.parse(self._head[:at]))
        self._head = b""
        return start + at + len(HEAD_END) - seen

    def _begin(self, request: Request) -> None:
        self._request, self._left = request, request.body_bytes
        if "transfer-encoding" in request.headers:
            self._send(Answer(HTTPStatus.LENGTH_REQUIRED), close=True)
        elif request.headers.get("expect", "").lower() == "100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue" + HEAD_END)

    def _finish(self, request: Request) -> None:
        self._request = None
        close = request.headers.get("connection", "").lower() == "close"
        send = functools.partial(self._send, self._answer(request), close=close)
        if self._delay_s and request.body_bytes >= LARGE_BYTES:
            asyncio.get_running_loop().call_later(self._delay_s, send)
        else:
            send()

    def _send(self, answer: Answer, *, close: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(answer.encode())
        if close:
            self._transport.close()
