"""Route classes: strict JSON, limited bodies, verified tokens."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from app import strict_json
from app.auth.principal import Principal
from app.auth.tokens import TokenVerifier
from app.errors import TokenInvalid

KIB = 1024


class StrictJSONRequest(Request):
    """A request that accepts only unambiguous JSON: no repeated name, no NaN, valid UTF-8."""

    async def json(self) -> Any:
        """Return the body's value.

        Raises:
            json.JSONDecodeError: it is not JSON, or nested too deeply.
        """
        return strict_json.loads(await self.body())


class LimitedBodyRoute(APIRoute):
    """A route that answers 413 to a body of more than ``body_bytes_max`` bytes."""

    body_bytes_max = 64 * KIB

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which reads the body through the limit."""
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            receive = _limited(request, self.body_bytes_max)
            return await handle(StrictJSONRequest(request.scope, receive))

        return limited


class AuthenticatedRoute(LimitedBodyRoute):
    """A route that verifies the token before it reads anything else of the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, called once the token is verified."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.state.principal = await _verified(request)
            return await handle(request)

        return guarded


async def _verified(request: Request) -> Principal:
    sent = request.headers.getlist("authorization")
    # A proxy might have checked another one of several.
    if len(sent) != 1:
        raise TokenInvalid("Send one Authorization header: Bearer and a token.")
    scheme, _, token = sent[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenInvalid("The Authorization header is not Bearer and a token.")
    tokens = cast(TokenVerifier, request.app.state.tokens)
    return await tokens.verify(token.strip())


def _limited(request: Request, bytes_max: int) -> Receive:
    """Return a ``receive`` that refuses encoded bodies and those over ``bytes_max``."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    length = 0

    async def receive() -> Message:
        nonlocal length
        message = await request.receive()
        # Counted, since a chunked request has no Content-Length.
        length += len(message.get("body", b""))
        if length and encoding != "identity":
            raise HTTPException(415, "Send the body without a Content-Encoding")
        if length > bytes_max:
            raise HTTPException(413, f"Send at most {bytes_max} bytes")
        return message

    return receive
