"""ASGI middleware for every request: HEAD, security headers, CORS, response timeout."""

import asyncio
from http import HTTPStatus

from anyio import CancelScope
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import RETRY_AFTER_S, problem

RESPONSE_TIMEOUT_S = 60.0
"""Until the response begins: twice the longest ``wait`` of ``GET /exports/{id}``."""

DEFAULT_CSP = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of responses that set none."""

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every response that does not set them itself."""

YEAR_S = 31_536_000


class HeadMiddleware:
    """Answers HEAD as GET without the body (RFC 9110, section 9.3.2).

    The response ends with its headers, and the route is cancelled: an event stream
    would go on for minutes. Routes declared for HEAD handle it themselves.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or _has_route(scope):
            await self._app(scope, receive, send)
            return
        # A copy: the outer middleware logs and counts the method in `scope`, which is HEAD.
        get_scope = {**scope, "method": "GET"}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["route"] = get_scope.get("route")  # the outer middleware logs the route
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            # Only a stream is cancelled: another route ends by itself, with its cleanup.
            elif message.get("more_body"):
                body.cancel()

        with CancelScope() as body:
            await self._app(get_scope, receive, send_head)


def _has_route(scope: Scope) -> bool:
    routes = scope["app"].routes if "app" in scope else ()
    return any(route.matches(scope)[0] is Match.FULL for route in routes)


class SecurityHeadersMiddleware:
    """Adds security headers to responses that do not set them themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        defaults = {**SECURITY_HEADERS, "Content-Security-Policy": DEFAULT_CSP}
        if scope["scheme"] == "https":
            defaults["Strict-Transport-Security"] = f"max-age={YEAR_S}"

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in defaults.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class StrictCORSMiddleware(CORSMiddleware):
    """CORS whose refused preflights carry no ``Access-Control-*`` header at all."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the response to a preflight."""
        response = super().preflight_response(request_headers)
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            for name in list(response.headers):
                if name.startswith("access-control-"):
                    del response.headers[name]
        return response


class ResponseTimeoutMiddleware:
    """Answers 408 or 503 where the response has not begun after ``timeout_s``.

    408 while the body is still being read, else 503. A response that has begun is
    not limited: event streams last for minutes.
    """

    def __init__(self, app: ASGIApp, timeout_s: float = RESPONSE_TIMEOUT_S) -> None:
        self._app = app
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_reading = has_begun = False

        async def receive_watched() -> Message:
            nonlocal is_reading
            is_reading = True
            message = await receive()
            is_reading = False
            return message

        async def send_watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            limit.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                await self._app(scope, receive_watched, send_watched)
        except TimeoutError:
            # A TimeoutError of the application itself is not this limit, but a fault (500).
            if has_begun or not limit.expired():
                raise
            response = _slow() if is_reading else _busy()
            await response(scope, receive, send)


def _slow() -> ASGIApp:
    detail = "The request did not arrive in time."
    headers = {"Connection": "close"}
    return problem(408, "The request is too slow", "request_timeout", detail, headers)


def _busy() -> ASGIApp:
    detail = "The service did not respond in time. Try again."
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return problem(503, "Temporarily unavailable", "answer_timeout", detail, headers)
