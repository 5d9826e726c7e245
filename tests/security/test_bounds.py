"""The table of bounds in the threat model says what the code does."""

import re

from aiosmtplib import protocol
from uvicorn.protocols.http import flow_control

from app.adapters.s3 import bounded_responses, storage
from app.adapters.webhooks import http_client
from app.api import connections, middleware
from app.api.route_classes import LimitedBodyRoute
from app.api.routers import audience_events, export_events
from app.auth import jwks
from app.feeds import batches, csv_records, ndjson
from devstack.service_processes import ROOT

KIB = 1024
MIB = 1024 * KIB


def kib(count: int) -> str:
    """Return a number of bytes as the page writes it."""
    assert count % KIB == 0
    return f"{count // MIB} MiB" if count % MIB == 0 else f"{count // KIB} KiB"


BOUNDS = {
    "request line and headers": (
        f"{kib(connections.HEAD_BYTES_MAX)}, {connections.HEADERS_MAX} headers (431)",
        f"twice {connections.CHECK_INTERVAL_S:.0f} s (408)",
    ),
    "body of a request": (
        f"{kib(LimitedBodyRoute.body_bytes_max)} (413)",
        f"{middleware.RESPONSE_TIMEOUT_S:.0f} s until an answer begins",
    ),
    "body of `POST /audience/events`": (
        f"{kib(audience_events.LargeBodyRoute.body_bytes_max)}, "
        f"{audience_events.LINES_MAX:,} lines (413), "
        f"each {kib(ndjson.LINE_BYTES_MAX)} (422)",
        f"{middleware.RESPONSE_TIMEOUT_S:.0f} s",
    ),
    "body on the wire, with chunks and trailers": (
        f"{kib(connections.MESSAGE_BYTES_MAX)}, then broken off",
        "",
    ),
    "what a client does not read of an answer": (
        f"{kib(flow_control.HIGH_WATER_LIMIT)}, then sending waits",
        f"twice {connections.CHECK_INTERVAL_S:.0f} s, then broken off; "
        f"{connections.SHUTDOWN_TIMEOUT_S:.0f} s at shutdown",
    ),
    "a stream of events": ("", f"{export_events.LIFETIME_S:.0f} s, then the client comes again"),
    "answer of the key server": (
        f"{kib(jwks.KEY_SET_BYTES_MAX)}, not compressed",
        f"{jwks.FETCH_TIMEOUT_S:.0f} s",
    ),
    "answer to a webhook": ("status and headers; no body", f"{http_client.TIMEOUT_S:.0f} s"),
    "answer of the object store": (
        kib(bounded_responses.ANSWER_BYTES_MAX),
        f"{storage.CALL_TIMEOUT_S:.0f} s",
    ),
    "reply of the mail server": (
        f"{kib(protocol.MAX_LINE_LENGTH)} a line, {kib(protocol.MAX_RESPONSE_LENGTH)} in all",
        "[the limits of RFC 5321](troubleshoot.md#how-long-each-state-may-last)",
    ),
    "message on a Redis channel": ("32 MB: Redis drops anyone who has more to read", ""),
    "imported file": (
        f"{kib(csv_records.LINE_BYTES_MAX)} a line and a record, "
        f"{kib(batches.BATCH_BYTES_MAX)} a batch",
        "none: the operator's own",
    ),
}


def test_the_page_tells_every_bound() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    table = page.split("\n## Limits on input\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.*?) ?\| (.*?) ?\|$", table, re.MULTILINE)[2:]
    assert {what: (most, time) for what, most, time in rows} == BOUNDS
    assert csv_records.RECORD_BYTES_MAX == csv_records.LINE_BYTES_MAX
