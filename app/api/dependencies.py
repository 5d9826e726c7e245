"""FastAPI dependencies of the routes: resources, principal, audit context, export id."""

import re
from ipaddress import ip_address
from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPBearer

from app.api.shutdown import ShutdownSignal
from app.auth.principal import ALL_SELLERS, READ, WRITE, Principal
from app.errors import ExportNotFound, InsufficientScope
from app.exports.audit import AuditContext
from app.resources import Resources

ADDRESS_WITH_PORT = re.compile(r"(?:\[([^]]+)\]|([0-9.]+):[0-9]+)(?::[0-9]+)?")

BEARER = HTTPBearer(
    scheme_name="token", bearerFormat="JWT", auto_error=False, description="A signed JSON Web Token"
)

Bearer = Annotated[object, Security(BEARER)]


# All dependencies are async: FastAPI runs plain functions in a thread pool, one after the
# other, which took a third of the time of GET /exports/{id}.


async def resources(request: Request) -> Resources:
    """Return the resources that the application opened at start-up."""
    return cast(Resources, request.app.state.resources)


async def shutdown(request: Request) -> ShutdownSignal:
    """Return the signal that the server is shutting down."""
    return cast(ShutdownSignal, request.app.state.shutdown)


# BEARER only describes the token in OpenAPI. These do not depend on one another: each level of
# dependencies takes FastAPI a thirtieth of the time of GET /exports/{id}.


async def reader(request: Request, _: Bearer) -> Principal:
    """Return the caller; requires ``exports:read``."""
    principal = verified_principal(request)
    principal.require(READ)
    return principal


async def writer(request: Request, _: Bearer) -> Principal:
    """Return the caller; requires ``exports:write``."""
    principal = verified_principal(request)
    principal.require(WRITE)
    return principal


async def auditor(principal: Annotated[Principal, Depends(reader)]) -> Principal:
    """Return the caller; requires ``exports:read`` and a token that is not bound to a seller."""
    if principal.seller_id is not None:
        raise InsufficientScope(ALL_SELLERS)
    return principal


async def operator(request: Request, _: Bearer) -> Principal:
    """Return the caller; requires ``sellers:all`` and a token that is not bound to a seller."""
    principal = verified_principal(request)
    if principal.seller_id is not None or ALL_SELLERS not in principal.scopes:
        raise InsufficientScope(ALL_SELLERS)
    return principal


def verified_principal(request: Request) -> Principal:
    """Return the caller, whose token ``AuthenticatedRoute`` has verified."""
    return cast(Principal, request.state.principal)


async def audit_context(request: Request) -> AuditContext:
    """Return who made this request, for the audit.

    The client address is the one that uvicorn derived from the trusted proxies' headers.
    """
    principal: Principal | None = getattr(request.state, "principal", None)
    return AuditContext(
        actor=principal.name if principal else None,
        client_address=_address(request.client.host) if request.client else None,
        user_agent=request.headers.get("user-agent"),
        request_id=request.state.request_id,
        traceparent=request.state.traceparent,
    )


def _address(host: str) -> str | None:
    """Return an IP address, or ``None`` where a forwarding header holds something else.

    Some proxies add a port (``192.0.2.7:443``, ``[2001:db8::7]:443``), which is removed.
    """
    with_port = ADDRESS_WITH_PORT.fullmatch(host)
    try:
        return str(ip_address(with_port[1] or with_port[2] if with_port else host))
    except ValueError:
        return None


def external_path(request: Request, path: str) -> str:
    """Return a path as clients see it: with the prefix (``root_path``) that a proxy strips."""
    return f"{request.scope.get('root_path', '').rstrip('/')}{path}"


async def export_id(
    name: Annotated[
        str, Path(alias="id", description="The export's id", json_schema_extra={"format": "uuid"})
    ],
) -> UUID:
    """Return the export's id from the path.

    Raises:
        ExportNotFound: it is not a UUID in its canonical form.
    """
    try:
        value = UUID(name)
    except ValueError as error:
        raise ExportNotFound("There is no such export.") from error
    # UUID() also accepts braces, `urn:uuid:` and missing hyphens.
    if str(value) != name.lower():
        raise ExportNotFound("There is no such export.")
    return value


ResourcesDep = Annotated[Resources, Depends(resources)]
ShutdownDep = Annotated[ShutdownSignal, Depends(shutdown)]
Reader = Annotated[Principal, Depends(reader)]
Writer = Annotated[Principal, Depends(writer)]
Auditor = Annotated[Principal, Depends(auditor)]
Operator = Annotated[Principal, Depends(operator)]
AuditContextDep = Annotated[AuditContext, Depends(audit_context)]
ExportId = Annotated[UUID, Depends(export_id)]
