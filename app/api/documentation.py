"""The OpenAPI document: every error of every route, with an example."""

from typing import Any

from fastapi import FastAPI

from app.api.problems import MEDIA_TYPE, TYPE_PREFIX, status_of
from app.errors import ServiceError

Responses = dict[int | str, dict[str, Any]]

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
    },
}

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


class Service(FastAPI):
    """The application, whose OpenAPI document knows problem documents."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
        return document


def documented(*kinds: type[ServiceError]) -> Responses:
    """Return the OpenAPI responses of a route that may answer with these errors."""
    responses: Responses = {}
    for kind in kinds:
        status, title = status_of(kind)
        response = responses.setdefault(status, _problem(status, title))
        response["content"][MEDIA_TYPE]["examples"][kind.code] = {"value": _example(kind)}
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
    response = {"description": title, "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}
    return response | ({"headers": HEADERS[status]} if status in HEADERS else {})


def _example(kind: type[ServiceError]) -> dict[str, Any]:
    status, title = status_of(kind)
    detail = " ".join((kind.__doc__ or title).split())
    return {
        "type": TYPE_PREFIX + kind.code,
        "title": title,
        "status": status,
        "detail": detail,
        "code": kind.code,
    }
