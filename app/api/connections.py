"""Limits per connection that uvicorn and httptools lack: header size, trailers, stalled peers.

An application sees a request only when its headers are complete: by then 64 MiB of headers,
which need no token, have become a gigabyte in memory. uvicorn has already chosen its protocol
class when it imports the application, so that class is extended in place.
"""

import asyncio
from functools import wraps
from http import HTTPStatus
from typing import Any

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.problems import problem

HEAD_BYTES_MAX = 64 * 1024
"""Request line and headers together; exceeded by one read of the socket at most."""

HEADERS_MAX = 200
"""Headers of one request, trailers included."""

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Body size on the wire: twice the largest accepted body, for the overhead of chunked encoding."""

CHECK_INTERVAL_S = 30.0
"""How often a connection is checked. It is closed when its request headers are incomplete at
two checks in a row, or when the peer has read nothing of a full write buffer between them."""

SHUTDOWN_TIMEOUT_S = 15.0
"""How long a response may still take after the server received a signal to stop."""


class ConnectionLimiter:
    """Enforces the limits of one connection."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self._transport = protocol.transport
        self._loop = asyncio.get_running_loop()
        self._scope: Any = None
        self._bytes = 0
        self._was_reading_head = False
        self._unread_before = 0
        self._timers = [self._loop.call_later(CHECK_INTERVAL_S, self._check)]

    @property
    def _is_reading_head(self) -> bool:
        """Whether the request headers are incomplete, or no byte has arrived yet."""
        scope, cycle = self._protocol.scope, self._protocol.cycle
        return scope is None or cycle is None or cycle.scope is not scope

    def count(self, size: int) -> None:
        """Count received bytes; refuse the request when a limit is exceeded."""
        if self._protocol.scope is not self._scope:
            self._scope, self._bytes = (
                self._protocol.scope,
                0,
            )  # these bytes may hold the end of the request before
        else:
            self._bytes += size
        headers = len(self._protocol.headers or ())
        if self._is_reading_head:
            if self._bytes > HEAD_BYTES_MAX or headers > HEADERS_MAX:
                self._refuse(_too_large())
        elif headers > HEADERS_MAX or self._bytes > HEAD_BYTES_MAX + MESSAGE_BYTES_MAX:
            # No response: the application has the request, and may have begun its own.
            self._transport.abort()

    def end_soon(self) -> None:
        """Close the connection within ``SHUTDOWN_TIMEOUT_S``."""
        self._timers.append(self._loop.call_later(SHUTDOWN_TIMEOUT_S, self._transport.abort))

    def stop(self) -> None:
        """Cancel the timers."""
        for timer in self._timers:
            timer.cancel()

    def _check(self) -> None:
        unread = self._transport.get_write_buffer_size()
        is_full = self._transport.is_closing() or self._protocol.flow.write_paused
        if is_full and 0 < self._unread_before <= unread:
            self._transport.abort()
            return
        if self._was_reading_head and self._is_reading_head:
            self._refuse(_too_slow())
        self._unread_before = unread if is_full else 0
        self._was_reading_head = self._is_reading_head
        self._timers[0] = self._loop.call_later(CHECK_INTERVAL_S, self._check)

    def _refuse(self, response: Response) -> None:
        """Send ``response`` instead of the application and close; abort if one is under way."""
        cycle = self._protocol.cycle
        if cycle is not None and not cycle.response_complete:
            self._transport.abort()
        elif not self._transport.is_closing():
            self._transport.write(_to_bytes(response))
            self._transport.close()


def limit_connections() -> None:
    """Apply the limits to every connection that uvicorn accepts in this process from now on."""
    if hasattr(HttpToolsProtocol, "limiter"):
        return
    protocol: Any = HttpToolsProtocol
    protocol.limiter = None

    def extend(name: str, before: Any = None, after: Any = None) -> None:
        method = getattr(protocol, name)

        @wraps(method)
        def extended(self: Any, *arguments: Any) -> None:
            if before is not None:
                before(self)
            method(self, *arguments)
            if after is not None:
                after(self, *arguments)

        setattr(protocol, name, extended)

    def begin(self: Any, _: object) -> None:
        self.limiter = ConnectionLimiter(self)

    extend("connection_made", after=begin)
    extend("connection_lost", before=lambda self: self.limiter.stop())
    extend("handle_websocket_upgrade", before=lambda self: self.limiter.stop())
    # After it: only then has the protocol parsed whether these bytes complete the headers.
    extend("data_received", after=lambda self, data: self.limiter.count(len(data)))
    extend("shutdown", after=lambda self: self.limiter.end_soon())


def _too_large() -> Response:
    detail = f"At most {HEAD_BYTES_MAX} bytes and {HEADERS_MAX} headers are accepted."
    return problem(431, "The request's headers are too large", "headers_too_large", detail)


def _too_slow() -> Response:
    detail = "The request did not arrive in time."
    return problem(408, "The request is too slow", "request_timeout", detail)


def _to_bytes(response: Response) -> bytes:
    status = HTTPStatus(response.status_code)
    headers = [*response.raw_headers, (b"connection", b"close")]
    lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", bytes(response.body)])
