"""The OpenAPI document: exact numbers, and every error of every route with an example."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from app import errors
from app.api.middleware import SecurityHeadersMiddleware
from app.api.problem_schema import SCHEMAS, example_problem
from app.api.problems import MEDIA_TYPE, status_of
from app.api.request_logging import REQUEST_ID, RequestLoggingMiddleware
from app.auth.principal import BIGINT_MAX

Responses = dict[int | str, dict[str, Any]]

NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}

COMMON_HEADERS = {
    REQUEST_ID: {
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "description": "The request's id in the logs: yours, where you sent one of this form.",
    }
}
"""On every response."""

RETRY_AFTER = {
    "Retry-After": {
        "schema": {"type": "integer"},
        "description": "Seconds to wait before the next request.",
    }
}

ENTITY_HEADERS = {
    "ETag": {"schema": {"type": "string"}},
    **RETRY_AFTER,
}

LOCATED_HEADERS = {
    "Location": {"schema": {"type": "string"}, "description": "The URL of the export."},
    **ENTITY_HEADERS,
}

RESPONSE_HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: RETRY_AFTER,
    503: RETRY_AFTER,
}

SERVERS = [{"url": "/", "description": "The address that this document was read from"}]

TAGS = [
    {"name": "exports", "description": "Request an export, follow it, download its file."},
    {"name": "audience", "description": "Count an audience, and feed its source tables."},
    {"name": "links", "description": "The links that mails carry; they need no token."},
    {"name": "operations", "description": "For operators: health, metrics, statistics, audit."},
]


class ExportAPI(FastAPI):
    """The FastAPI application, whose OpenAPI document describes problem documents.

    FastAPI's own telemetry stays off, even if the environment turns it on: it would
    export whole paths, which hold the tokens of mailed links, and exception messages.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(telemetry=NO_TELEMETRY, **options)

    def build_middleware_stack(self) -> ASGIApp:
        """Return the middleware; the outer two cover the responses of the 500 handler as well."""
        return RequestLoggingMiddleware(SecurityHeadersMiddleware(super().build_middleware_stack()))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, without FastAPI's default validation error.

        Every operation has ``security``: an empty list where no token is needed.
        """
        # _exact() returns a copy: FastAPI caches its document, and ours is changed below.
        document: dict[str, Any] = _exact(super().openapi())
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(SCHEMAS)
        for default in ("HTTPValidationError", "ValidationError"):
            schemas.pop(default, None)
        for operation in _operations(document):
            operation.setdefault("security", [])
            _drop_default_error(operation["responses"])
            for response in operation["responses"].values():
                response.setdefault("headers", {}).update(COMMON_HEADERS)
        return document


def _exact(value: Any) -> Any:
    """Return a document with integers as integers: FastAPI writes limits as rounded floats."""
    if isinstance(value, dict):
        return {name: _exact(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_exact(each) for each in value]
    if value == float(BIGINT_MAX) and isinstance(value, float):
        return BIGINT_MAX
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _drop_default_error(responses: dict[str, Any]) -> None:
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]


def error_responses(*kinds: type[errors.ServiceError]) -> Responses:
    """Return the OpenAPI responses of a route that may answer with these errors."""
    responses: Responses = {}
    for kind in kinds:
        status, title = status_of(kind)
        response = responses.setdefault(status, _problem(status, title))
        examples = response["content"][MEDIA_TYPE].setdefault("examples", {})
        examples[kind.code] = {"value": example_problem(kind)}
    return responses


def problem_response(status: int, title: str) -> Responses:
    """Return the OpenAPI response of a route for a problem outside the error tree."""
    return {status: _problem(status, title)}


def redirect_responses(status: int) -> Responses:
    """Return the OpenAPI response of a route that redirects to a file."""
    location = {
        "schema": {"type": "string", "format": "uri"},
        "description": "The URL of the file.",
    }
    return {status: {"description": "Redirect to the file", "headers": {"Location": location}}}


def _problem(status: int, title: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    response = {"description": title, "content": {MEDIA_TYPE: {"schema": schema}}}
    return response | ({"headers": RESPONSE_HEADERS[status]} if status in RESPONSE_HEADERS else {})
