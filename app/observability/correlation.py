"""Request ids and trace contexts, which connect the log lines and spans of one request."""

import re
from contextlib import AbstractContextManager
from uuid import uuid4

import structlog

REQUEST_ID_MAX = 128
REQUEST_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{REQUEST_ID_MAX}}}")

TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?"
)
TRACEPARENT_LENGTH = 55

VERSION = "00"
FORBIDDEN_VERSION = "ff"
SAMPLED = 0x01


def parse_request_id(values: list[str]) -> str:
    """Return the request id in the ``X-Request-ID`` header values, or a new one.

    Only one value of letters, digits and ``._-`` is accepted: it goes into logs and headers.
    """
    if len(values) == 1 and REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return str(uuid4())


def parse_traceparent(values: list[str]) -> str | None:
    """Return the ``traceparent`` in the header values as version 00; ``None`` if none is valid.

    By W3C Trace Context, section 3.2, a repeated or malformed header is
    ignored; of a later version, only the fields of version 00 are used.
    """
    match = TRACEPARENT.fullmatch(values[0].strip(" \t")) if len(values) == 1 else None
    if match is None or match["version"] == FORBIDDEN_VERSION:
        return None
    if not (match["trace"].strip("0") and match["parent"].strip("0")):
        return None  # an id of zeros is invalid
    if match["version"] == VERSION:
        return None if match["more"] else match[0]
    flags = int(match["flags"], 16) & SAMPLED
    return f"{VERSION}-{match['trace']}-{match['parent']}-{flags:02x}"


def trace_id(traceparent: str) -> str:
    """Return the trace id in a valid ``traceparent``: 32 hexadecimal digits."""
    return traceparent.split("-")[1]


def log_context(request_id: str | None, traceparent: str | None) -> AbstractContextManager[None]:
    """Add the request's ids to every log line inside the context."""
    return structlog.contextvars.bound_contextvars(**_log_fields(request_id, traceparent))


def bind_log_context(request_id: str, traceparent: str | None) -> None:
    """Replace the task's log context by this request's ids, for all further log lines."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**_log_fields(request_id, traceparent))


def _log_fields(request_id: str | None, traceparent: str | None) -> dict[str, str]:
    fields = {} if request_id is None else {"request_id": request_id}
    return fields if traceparent is None else fields | {"trace_id": trace_id(traceparent)}
