"""The OpenAPI document: every error of every route, with an example."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from app import errors
from app.api.edge import SecurityHeaders
from app.api.observing import REQUEST_ID, Observed
from app.api.problems import MEDIA_TYPE, TYPE_PREFIX, status_of
from app.auth import BIGINT_MAX

Responses = dict[int | str, dict[str, Any]]

NO_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}

PROBLEM = {
    "title": "Problem",
    "description": "A problem document (RFC 9457). Programs should look at `type` or `code`.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "What is wrong, field by field.",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
        "lines": {
            "type": "array",
            "description": "What is wrong, line by line.",
            "items": {
                "type": "object",
                "required": ["line", "reason"],
                "properties": {"line": {"type": "integer"}, "reason": {"type": "string"}},
            },
        },
    },
}

ANSWER_HEADERS = {
    REQUEST_ID: {
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "description": "The request's id in our logs: yours where you sent one like this.",
    }
}
"""On every answer."""

RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "In seconds."}}

ENTITY_HEADERS = {
    "ETag": {"schema": {"type": "string"}},
    **RETRY_AFTER,
}

LOCATED_HEADERS = {
    "Location": {"schema": {"type": "string"}, "description": "The export's address."},
    **ENTITY_HEADERS,
}

HEADERS = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: RETRY_AFTER,
    503: RETRY_AFTER,
}


EXAMPLES: Mapping[type[errors.ServiceError], dict[str, Any]] = {
    errors.TokenInvalid: {"detail": "The token has expired."},
    errors.ScopeMissing: {"detail": "This needs a token with the scope exports:read."},
    errors.RecipientForbidden: {"detail": "This token speaks for another seller."},
    errors.ExportNotFound: {"detail": "There is no such export."},
    errors.ExportNotReady: {"detail": "The export is running: it has no file."},
    errors.ExportGone: {"detail": "The file has expired or was erased."},
    errors.RequestInvalid: {
        "detail": "columns: customer_since needs its source to be selected.",
        "errors": [
            {"field": "columns", "reason": "customer_since needs its source to be selected."}
        ],
    },
    errors.LinesInvalid: {
        "detail": "Nothing was applied: 1 of the lines cannot be.",
        "lines": [{"line": 2, "reason": "created_at: is missing"}],
    },
    errors.KeyReused: {
        "detail": "This Idempotency-Key came with a different request before.",
        "errors": [
            {
                "field": "Idempotency-Key",
                "reason": "This Idempotency-Key came with a different request before.",
            }
        ],
    },
    errors.QuotaExceeded: {"detail": "20 exports were asked for within an hour."},
    errors.QueueFull: {"detail": "Too many exports are waiting."},
    errors.DatabaseUnavailable: {"detail": "The database cannot be reached."},
}
"""What each error may look like, for readers of the OpenAPI document."""


class Service(FastAPI):
    """The application, whose OpenAPI document knows problem documents.

    FastAPI's own telemetry stays off, whatever the environment says: it would
    export whole paths, with the tokens of mailed links, and exceptions' words.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(telemetry=NO_TELEMETRY, **options)

    def build_middleware_stack(self) -> ASGIApp:
        """Return what handles requests; answers to our own faults are careful as well."""
        return Observed(SecurityHeaders(super().build_middleware_stack()))

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, without what FastAPI supposes of errors."""
        document: dict[str, Any] = _exact(super().openapi())
        schemas = document["components"]["schemas"]
        schemas["Problem"] = PROBLEM
        for supposed in ("HTTPValidationError", "ValidationError"):
            schemas.pop(supposed, None)
        for operation in _operations(document):
            _drop_supposed_error(operation["responses"])
            for response in operation["responses"].values():
                response.setdefault("headers", {}).update(ANSWER_HEADERS)
        return document


def _exact(value: Any) -> Any:
    """Return a document with whole numbers whole: FastAPI's limits are rounded floats."""
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


def _drop_supposed_error(responses: dict[str, Any]) -> None:
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]


def documented(*kinds: type[errors.ServiceError]) -> Responses:
    """Return the OpenAPI responses of a route that may answer with these errors."""
    responses: Responses = {}
    for kind in kinds:
        status, title = status_of(kind)
        response = responses.setdefault(status, _problem(status, title))
        examples = response["content"][MEDIA_TYPE].setdefault("examples", {})
        examples[kind.code] = {"value": _example(kind)}
    return responses


def problem_response(status: int, title: str) -> Responses:
    """Return the OpenAPI response of a route for a problem outside the error tree."""
    return {status: _problem(status, title)}


def redirect(status: int) -> Responses:
    """Return the OpenAPI response of a route that leads to a file."""
    location = {"schema": {"type": "string", "format": "uri"}, "description": "The file."}
    return {status: {"description": "To the file", "headers": {"Location": location}}}


def _problem(status: int, title: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    response = {"description": title, "content": {MEDIA_TYPE: {"schema": schema}}}
    return response | ({"headers": HEADERS[status]} if status in HEADERS else {})


def _example(kind: type[errors.ServiceError]) -> dict[str, Any]:
    status, title = status_of(kind)
    return {
        "type": TYPE_PREFIX + kind.code,
        "title": title,
        "status": status,
        "code": kind.code,
        **EXAMPLES[kind],
    }
