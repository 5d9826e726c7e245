"""Where requests come in: what holds for all of them, before any route."""

import asyncio
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import RETRY_AFTER_S, problem

ANSWER_TIMEOUT_S = 60.0
"""Until an answer begins: twice the longest wait that can be asked for."""

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""What a page may load that does not say itself what it needs."""

DOCUMENTATION = (
    "default-src 'none'; script-src https://cdn.jsdelivr.net 'unsafe-inline'; "
    "style-src https://cdn.jsdelivr.net 'unsafe-inline'; "
    "img-src https://fastapi.tiangolo.com data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""FastAPI's page at ``/docs`` loads Swagger UI from elsewhere."""

POLICIES = {"/docs": DOCUMENTATION}

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer that does not say otherwise: nothing here is anybody else's to keep."""

YEAR_S = 31_536_000


class HeadAsGet:
    """Answers HEAD as GET without the body (RFC 9110, section 9.3.2), on every route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}

        async def send_head(message: Message) -> None:
            scope["route"] = asked.get("route")  # for those further out
            await send({**message, "body": b""} if "body" in message else message)

        await self._app(asked, receive, send_head)


class SecurityHeaders:
    """Adds the headers that tell browsers to be careful, where an answer has none of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        usual = {**HEADERS, "Content-Security-Policy": POLICIES.get(scope["path"], NOTHING)}
        if scope["scheme"] == "https":
            usual["Strict-Transport-Security"] = f"max-age={YEAR_S}"

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in usual.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely)


class Origins(CORSMiddleware):
    """Answers pages of other origins; one that is refused learns nothing of what others may."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to a preflight; a refusal grants nothing."""
        answer = super().preflight_response(request_headers)
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            for name in list(answer.headers):
                if name.startswith("access-control-"):
                    del answer.headers[name]
        return answer


class AnswerTimeout:
    """Gives up on a request whose answer does not begin: a slow sender, or a fault of ours.

    An answer that has begun may take its time: events are followed for minutes.
    """

    def __init__(self, app: ASGIApp, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
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
            if has_begun or not limit.expired():
                raise
            answer = _slow() if is_reading else _busy()
            await answer(scope, receive, send)


def _slow() -> ASGIApp:
    detail = "The request did not arrive in time."
    headers = {"Connection": "close"}
    return problem(408, "The request is too slow", "request_timeout", detail, headers)


def _busy() -> ASGIApp:
    detail = "There was no answer in time; try again soon."
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return problem(503, "Not available just now", "answer_timeout", detail, headers)
