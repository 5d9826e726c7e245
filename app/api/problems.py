"""Errors as problem documents (RFC 9457): the only module that maps errors to status codes."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from app import errors
from app.api.error_pages import error_page
from app.database.errors import classify_error

MEDIA_TYPE = "application/problem+json"

TYPE_PREFIX = "urn:problem:audience-export:"
"""A problem's ``type`` is this and the error's code; it is stable."""

RETRY_AFTER_S = 5
"""``Retry-After`` of temporary errors that name no delay."""

STATUSES: Mapping[type[errors.ServiceError], tuple[int, str]] = {
    errors.TokenInvalid: (401, "The token is missing or not valid"),
    errors.InsufficientScope: (403, "The token lacks a scope"),
    errors.Forbidden: (403, "Not for this seller or recipient"),
    errors.ExportNotFound: (404, "No such export"),
    errors.ExportNotReady: (409, "The export has no file"),
    errors.ExportGone: (410, "The file has expired or was erased"),
    errors.RequestInvalid: (422, "The request is not valid"),
    errors.InvalidLines: (422, "Some lines cannot be applied"),
    errors.IdempotencyKeyReused: (422, "The idempotency key was used for another request"),
    errors.QuotaExceeded: (429, "Too many exports"),
    errors.TemporaryError: (503, "Temporarily unavailable"),
    errors.ServiceError: (500, "The service failed"),
}
"""Status and title of the error classes; a subclass uses its nearest base."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

NO_STORE = {"Cache-Control": "no-store"}

ERRORS_MAX = 20
"""How many errors of one request are listed: a body may hold thousands."""

HTTP_ERRORS: Mapping[int, tuple[str, str]] = {
    404: ("not_found", "There is nothing at this address"),
    405: ("method_not_allowed", "The method is not allowed here"),
    413: ("body_too_large", "The body is too large"),
    415: ("unsupported_media_type", "The media type is not supported"),
}
"""Code and title of the errors that FastAPI and Starlette raise."""

FIELD_NAMES: Mapping[type[errors.ServiceError], str] = {
    errors.IdempotencyKeyReused: "Idempotency-Key"
}


def problem(
    status: int,
    title: str,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """Return a problem document; ``more`` are its extension members."""
    document = {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    # Plain ASCII: a lone surrogate in the request can be quoted, but not encoded as UTF-8.
    body = json.dumps(document).encode("ascii")
    return Response(body, status, {**NO_STORE, **(headers or {})}, media_type=MEDIA_TYPE)


def validation_problem(faults: Sequence[tuple[str, str]]) -> Response:
    """Return the 422 for invalid fields, given as pairs of a field and a reason."""
    listed = [{"field": field, "reason": reason} for field, reason in faults]
    status, title = STATUSES[errors.RequestInvalid]
    detail = " ".join(f"{field}: {reason}" for field, reason in faults)
    return problem(status, title, errors.RequestInvalid.code, detail, errors=listed)


def status_of(error: type[errors.ServiceError]) -> tuple[int, str]:
    """Return the status and title of a class of the error tree."""
    return next(STATUSES[base] for base in error.__mro__ if base in STATUSES)


def add_exception_handlers(app: FastAPI) -> None:
    """Turn every exception of a route or the framework into a problem document."""
    app.add_exception_handler(errors.ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    for kind in (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError):
        app.add_exception_handler(kind, _database_error)
    app.add_exception_handler(Exception, _unexpected_error)


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ServiceError)  # noqa: S101 - by its registration
    status, title = status_of(type(error))
    more: dict[str, Any] = {}
    if isinstance(error, errors.RequestInvalid):
        return validation_problem([(error.field, str(error))])
    if isinstance(error, errors.InvalidLines):
        more["lines"] = [{"line": line, "reason": reason} for line, reason in error.lines]
    if isinstance(error, errors.QuotaExceeded) and error.limit:
        more |= {"limit": error.limit, "maximum": error.maximum}
    if field := FIELD_NAMES.get(type(error)):
        more["errors"] = [{"field": field, "reason": str(error)}]
    headers = _headers(request, error)
    if page := error_page(request, status, str(error), headers):
        return page
    return problem(status, title, error.code, str(error), headers, **more)


def _headers(request: Request, error: errors.ServiceError) -> dict[str, str]:
    match error:
        case errors.TokenInvalid():
            return {"WWW-Authenticate": _challenge(request)}
        case errors.InsufficientScope():
            challenge = f'Bearer error="insufficient_scope", scope="{error.scope}"'
            return {"WWW-Authenticate": challenge}
        case errors.QuotaExceeded() | errors.QueueFull():
            # Not 0: clients would repeat the request in a tight loop.
            return {"Retry-After": str(max(1, error.retry_after_s))}
        case errors.TemporaryError():
            return {"Retry-After": str(RETRY_AFTER_S)}
    return {}


def _challenge(request: Request) -> str:
    """RFC 6750, section 3.1: without any credentials, no error code either."""
    sent = "authorization" in request.headers
    return 'Bearer error="invalid_token"' if sent else "Bearer"


async def _validation_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - by its registration
    faults = [(_field(fault["loc"]), _reason(fault)) for fault in error.errors()]
    return validation_problem(list(dict.fromkeys(faults))[:ERRORS_MAX])


def _field(location: Sequence[str | int]) -> str:
    """Return the name of the field: ``columns`` for one of its items, ``body`` for the whole."""
    where, *path = location
    return str(path[0]) if path and isinstance(path[0], str) else str(where)


def _reason(fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "json_invalid":
            return f"This is not JSON: {fault['ctx']['error']}."
        case "model_attributes_type":
            return "Send a JSON object, with Content-Type: application/json."
        case "extra_forbidden":
            return "This field is unknown."
    return str(fault["msg"]).rstrip(".") + "."


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - by its registration
    code, title = HTTP_ERRORS.get(error.status_code, ("refused", "The request was refused"))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_methods(request))
    if page := error_page(request, error.status_code, error.detail, headers):
        return page
    return problem(error.status_code, title, code, f"{error.detail}.", headers)


def _methods(request: Request) -> list[str]:
    """Return the methods that the path allows, each of which may be a separate route."""
    routes = request.app.router.routes
    return [
        method
        for method in METHODS
        for candidate in [{**request.scope, "method": "GET" if method == "HEAD" else method}]
        if any(route.matches(candidate)[0] is Match.FULL for route in routes)
    ]


async def _database_error(request: Request, error: Exception) -> Response:
    meaning = classify_error(error)
    if meaning is None:
        raise error
    return await _service_error(request, meaning)


async def _unexpected_error(_: Request, __: Exception) -> Response:
    """Say ``Connection: close``, since uvicorn closes the connection after an exception."""
    detail = "An unexpected error occurred and was logged."
    return problem(500, "The service failed", "internal", detail, {"Connection": "close"})
