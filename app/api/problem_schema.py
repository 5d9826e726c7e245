"""Problem documents in the OpenAPI document: their schema, every code, an example of each error."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from app import errors
from app.api.problems import HTTP_ERRORS, STATUSES, TYPE_PREFIX, status_of

NEVER_ANSWERED = {
    errors.InvalidImportFile,
    errors.LeaseLost,
    errors.MailDeferred,
    errors.MailRefused,
    errors.MailUnanswered,
    errors.PermanentError,
    errors.SettingsInvalid,
    errors.TemporaryError,
    errors.WebhookFailed,
}
"""Bases, and errors of workers and the command line: they end no request and no export."""

MIDDLEWARE_CODES = {
    "answer_timeout",
    "headers_too_large",
    "not_ready",
    "refused",
    "request_timeout",
}
"""Codes outside the error tree: of the middleware, the server and ``/readyz``."""

LOST = "worker_lost"
"""The code that recovery records; no error has it, since the process that failed is gone."""


def _tree(base: type[errors.ServiceError]) -> Iterator[type[errors.ServiceError]]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__ == errors.__name__:  # the command line has subclasses too
            yield from _tree(kind)


ANSWERED = {each for each in _tree(errors.ServiceError) if each not in NEVER_ANSWERED}

PROBLEM_CODES = sorted(
    {each.code for each in ANSWERED} | {code for code, _ in HTTP_ERRORS.values()} | MIDDLEWARE_CODES
)
"""Every ``code`` that a problem document may have."""

REQUEST_ERRORS = {each for each in STATUSES if issubclass(each, errors.PermanentError)}

EXPORT_CODES = sorted({each.code for each in ANSWERED - REQUEST_ERRORS} | {LOST})
"""Every ``error.code`` that a failed export may have."""

FIELD_ERROR = {
    "title": "FieldError",
    "description": "An invalid field or parameter, and the reason.",
    "type": "object",
    "required": ["field", "reason"],
    "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
}

LINE_ERROR = {
    "title": "LineError",
    "description": "An invalid line of the body, counted from 1, and the reason.",
    "type": "object",
    "required": ["line", "reason"],
    "properties": {"line": {"type": "integer"}, "reason": {"type": "string"}},
}

PROBLEM: Mapping[str, Any] = {
    "title": "Problem",
    "description": "A problem document (RFC 9457). Programs should use `code`, or `type`, which "
    "is the same after a prefix; a code that a program does not know means what its status says.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri",
            "enum": [TYPE_PREFIX + code for code in PROBLEM_CODES],
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "code": {"type": "string", "enum": PROBLEM_CODES},
        "errors": {
            "type": "array",
            "description": "The invalid fields (422).",
            "items": {"$ref": "#/components/schemas/FieldError"},
        },
        "lines": {
            "type": "array",
            "description": "The invalid lines (422 of `POST /audience/events`).",
            "items": {"$ref": "#/components/schemas/LineError"},
        },
        "limit": {
            "type": "string",
            "description": "The seller's quota that is used up (429 of `POST /exports`).",
            "enum": list(get_args(errors.QuotaLimit)),
        },
        "maximum": {
            "type": "integer",
            "description": "The value of `limit`: exports at once, or within an hour.",
            "minimum": 1,
        },
        "checks": {
            "type": "object",
            "description": "The state of each dependency (503 of `GET /readyz`).",
            "additionalProperties": {"type": "string"},
        },
    },
}

SCHEMAS: Mapping[str, Any] = {
    "FieldError": FIELD_ERROR,
    "LineError": LINE_ERROR,
    "Problem": PROBLEM,
}
"""The components of the OpenAPI document that describe problems."""

EXAMPLES: Mapping[type[errors.ServiceError], dict[str, Any]] = {
    errors.TokenInvalid: {"detail": "The token has expired."},
    errors.InsufficientScope: {"detail": "The token lacks the required scope exports:read."},
    errors.Forbidden: {"detail": "This token is bound to another seller."},
    errors.ExportNotFound: {"detail": "There is no such export."},
    errors.ExportNotReady: {"detail": "The export is running: it has no file."},
    errors.ExportGone: {"detail": "The file has expired or was erased."},
    errors.RequestInvalid: {
        "detail": "columns: customer_since needs its source to be selected.",
        "errors": [
            {"field": "columns", "reason": "customer_since needs its source to be selected."}
        ],
    },
    errors.InvalidLines: {
        "detail": "Nothing was applied: invalid lines: 1.",
        "lines": [{"line": 2, "reason": "created_at: is missing"}],
    },
    errors.IdempotencyKeyReused: {
        "detail": "This Idempotency-Key came with a different request before.",
        "errors": [
            {
                "field": "Idempotency-Key",
                "reason": "This Idempotency-Key came with a different request before.",
            }
        ],
    },
    errors.QuotaExceeded: {
        "detail": "20 exports were asked for within an hour.",
        "limit": "exports_per_hour",
        "maximum": 20,
    },
    errors.QueueFull: {"detail": "Too many exports are waiting."},
    errors.DatabaseUnavailable: {"detail": "The database cannot be reached."},
}
"""An example of each error, shown in the OpenAPI document."""


def example_problem(kind: type[errors.ServiceError]) -> dict[str, Any]:
    """Return the problem document of an error, with its example's words."""
    status, title = status_of(kind)
    return {
        "type": TYPE_PREFIX + kind.code,
        "title": title,
        "status": status,
        "code": kind.code,
        **EXAMPLES[kind],
    }
