"""What routes are given: what was opened, the caller, the export they name."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPBearer

from app.api.shutdown import Shutdown
from app.auth import ALL_SELLERS, READ, WRITE, Principal
from app.errors import ExportNotFound, ScopeMissing
from app.exports.audit import Origin
from app.resources import Resources

CURSOR = "^[A-Za-z0-9_-]{21}[AQgw]$"
"""16 bytes in base64 for URLs (RFC 4648, section 5), the last two bits of which are zero."""

BEARER = HTTPBearer(
    scheme_name="token", bearerFormat="JWT", auto_error=False, description="A signed JSON Web Token"
)


# All of these are async: FastAPI sends plain functions to threads, one after the
# other, which was a third of the work of reading an export.


async def resources(request: Request) -> Resources:
    """Return what the application opened at start-up."""
    return cast(Resources, request.app.state.resources)


async def shutdown(request: Request) -> Shutdown:
    """Return the word that the server is going down."""
    return cast(Shutdown, request.app.state.shutdown)


async def caller(request: Request, _: Annotated[object, Security(BEARER)]) -> Principal:
    """Return the principal that the route's guard has found."""
    return cast(Principal, request.state.principal)


async def reader(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """Return the caller, who may read exports."""
    principal.require(READ)
    return principal


async def writer(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """Return the caller, who may ask for exports."""
    principal.require(WRITE)
    return principal


async def auditor(principal: Annotated[Principal, Depends(reader)]) -> Principal:
    """Return the caller, who may read exports of all sellers; no seller's token may."""
    if principal.seller_id is not None:
        raise ScopeMissing(ALL_SELLERS)
    return principal


async def operator(principal: Annotated[Principal, Depends(caller)]) -> Principal:
    """Return the caller, who may know of all sellers; no seller's token may."""
    if principal.seller_id is not None or ALL_SELLERS not in principal.scopes:
        raise ScopeMissing(ALL_SELLERS)
    return principal


async def origin(request: Request) -> Origin:
    """Return whose hand this is: the address is uvicorn's, who knows which proxies to trust."""
    principal: Principal | None = getattr(request.state, "principal", None)
    return Origin(
        actor=principal.name if principal else None,
        client_address=request.client.host if request.client else None,
        user_agent=request.headers.get("user-agent"),
        request_id=request.state.request_id,
        traceparent=request.state.traceparent,
    )


async def export_id(
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
    """Return the export that a cursor, which has the form of one, names."""
    return UUID(bytes=urlsafe_b64decode(cursor + "=="))


Opened = Annotated[Resources, Depends(resources)]
Ending = Annotated[Shutdown, Depends(shutdown)]
Reader = Annotated[Principal, Depends(reader)]
Writer = Annotated[Principal, Depends(writer)]
Auditor = Annotated[Principal, Depends(auditor)]
Operator = Annotated[Principal, Depends(operator)]
From = Annotated[Origin, Depends(origin)]
ExportId = Annotated[UUID, Depends(export_id)]
