"""Routes that guard themselves: who calls, how much is read, what counts as JSON."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from app import strict_json
from app.api.dependencies import resources
from app.auth import Principal
from app.errors import TokenInvalid

KIB = 1024


class StrictRequest(Request):
    """A request whose JSON means one thing only: no repeated name, no NaN, valid UTF-8."""

    async def json(self) -> Any:
        """Return the body's value.

        Raises:
            json.JSONDecodeError: it is not JSON, or too deep to be meant.
        """
        return strict_json.parse(await self.body())


class PublicRoute(APIRoute):
    """A route that reads no more than ``body_bytes_max`` of any body."""

    body_bytes_max = 64 * KIB

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, given limited requests."""
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            receive = _limited(request, self.body_bytes_max)
            return await handle(StrictRequest(request.scope, receive))

        return limited


class GuardedRoute(PublicRoute):
    """A route that knows its caller before it looks at anything else of the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler behind the check of the token."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.principal = await _verified(request)
            return await handle(request)

        return guarded


async def _verified(request: Request) -> Principal:
    sent = request.headers.getlist("authorization")
    if len(sent) != 1:
        raise TokenInvalid("Send one Authorization header: Bearer and a token.")
    scheme, _, token = sent[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenInvalid("The Authorization header is not Bearer and a token.")
    opened = await resources(request)
    return await opened.tokens.verify(token.strip())


def _limited(request: Request, bytes_max: int) -> Receive:
    """Return the request's ``receive`` that refuses to read more than ``bytes_max``."""
    length = 0

    async def receive() -> Message:
        nonlocal length
        message = await request.receive()
        length += len(message.get("body", b""))
        if length > bytes_max:
            raise HTTPException(413, f"At most {bytes_max} bytes are read here")
        return message

    return receive
