"""What routes are given: the resources, the caller, the shutdown; and what guards them."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import Depends, Path, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from app.api.shutdown import Shutdown
from app.auth import READ, WRITE, Principal
from app.errors import ExportNotFound, TokenInvalid
from app.resources import Resources

KIB = 1024

BEARER = HTTPBearer(
    scheme_name="token", bearerFormat="JWT", auto_error=False, description="A signed JSON Web Token"
)


class StrictRequest(Request):
    """A request whose JSON means one thing only: no repeated name, no NaN, valid UTF-8."""

    async def json(self) -> Any:
        """Return the body's value.

        Raises:
            json.JSONDecodeError: it is not JSON, or too deep to be meant.
        """
        try:
            return json.loads(
                (await self.body()).decode("utf-8"),
                object_pairs_hook=_without_repetition,
                parse_constant=_refused,
            )
        except json.JSONDecodeError:
            raise
        except UnicodeDecodeError as error:
            raise json.JSONDecodeError("not UTF-8", "", error.start) from error
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), "", 0) from error


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
    return await resources(request).tokens.verify(token.strip())


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


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name comes twice")
    return names


def _refused(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def resources(request: Request) -> Resources:
    """Return what the application opened at start-up."""
    return cast(Resources, request.app.state.resources)


def shutdown(request: Request) -> Shutdown:
    """Return the word that the server is going down."""
    return cast(Shutdown, request.app.state.shutdown)


def caller(request: Request, _: Annotated[object, Security(BEARER)]) -> Principal:
    """Return the principal that the route's guard has found."""
    return cast(Principal, request.state.principal)


def reader(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """Return the caller, who may read exports."""
    principal.require(READ)
    return principal


def writer(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """Return the caller, who may ask for exports."""
    principal.require(WRITE)
    return principal


def export_id(
    name: Annotated[
        str, Path(alias="id", description="The export's id", json_schema_extra={"format": "uuid"})
    ],
) -> UUID:
    """Return the export's id from the path; whatever is none is no export either."""
    try:
        value = UUID(name)
    except ValueError as error:
        raise ExportNotFound("There is no such export.") from error
    if str(value) != name.lower():
        raise ExportNotFound("There is no such export.")
    return value


def cursor_of(export_id: UUID) -> str:
    """Return the cursor of the page that begins after this export."""
    return urlsafe_b64encode(export_id.bytes).rstrip(b"=").decode()


def export_after(cursor: str) -> UUID:
    """Return the export that a cursor names.

    Raises:
        ValueError: the cursor is not one of ours.
    """
    export_id = UUID(bytes=urlsafe_b64decode(cursor.encode("ascii") + b"=="))
    if cursor_of(export_id) != cursor:
        raise ValueError("not a cursor")
    return export_id


Opened = Annotated[Resources, Depends(resources)]
Ending = Annotated[Shutdown, Depends(shutdown)]
Reader = Annotated[Principal, Depends(reader)]
Writer = Annotated[Principal, Depends(writer)]
ExportId = Annotated[UUID, Depends(export_id)]
