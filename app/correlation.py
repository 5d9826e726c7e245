"""What ties together all lines and spans of one request: its id and its trace."""

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


def request_id_of(sent: list[str]) -> str:
    """Return the caller's request id, or a new one where it sent none or one that is not safe."""
    if len(sent) == 1 and REQUEST_ID.fullmatch(sent[0]):
        return sent[0]
    return str(uuid4())


def traceparent_of(sent: list[str]) -> str | None:
    """Return the caller's ``traceparent`` as version 00, ``None`` without a valid one.

    W3C Trace Context, section 3.2: a header that is repeated or malformed
    counts as absent; of a later version only what is known is passed on.
    """
    match = TRACEPARENT.fullmatch(sent[0].strip(" \t")) if len(sent) == 1 else None
    if match is None or match["version"] == FORBIDDEN_VERSION:
        return None
    if not (match["trace"].strip("0") and match["parent"].strip("0")):
        return None
    if match["version"] == VERSION:
        return None if match["more"] else match[0]
    flags = int(match["flags"], 16) & SAMPLED
    return f"{VERSION}-{match['trace']}-{match['parent']}-{flags:02x}"


def trace_id_of(traceparent: str) -> str:
    """Return the trace id in a valid ``traceparent``: 32 hexadecimal digits."""
    return traceparent.split("-")[1]


def correlated(request_id: str | None, traceparent: str | None) -> AbstractContextManager[None]:
    """Name the request in every line that is logged while the context is open."""
    return structlog.contextvars.bound_contextvars(**_names(request_id, traceparent))


def correlate(request_id: str, traceparent: str | None) -> None:
    """Name this request, and no other, in every further line of the task."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**_names(request_id, traceparent))


def _names(request_id: str | None, traceparent: str | None) -> dict[str, str]:
    names = {} if request_id is None else {"request_id": request_id}
    return names if traceparent is None else names | {"trace_id": trace_id_of(traceparent)}
