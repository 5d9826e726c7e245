"""One trace and one request id, from the request through the queue to the file and the mail."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email import policy
from email.parser import BytesParser
from typing import Any

import httpx
import pytest

from app.database.connections import Connection, connect
from devstack import tokens
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service_processes import start_api, start_worker
from devstack.smtp import SmtpServer
from tests.end_to_end.conftest import finished
from tests.otlp_collector import Collector, Seen, open_collector
from tests.tokens import bearer

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"

LONG_LISTED = """
    INSERT INTO followers (seller_id, email, created_at, confirmed_at)
    SELECT 1, repeat('x', 200) || number || '@secret.example', now(), now()
    FROM generate_series(1, 40000) AS number
"""
"""Enough for an upload in parts."""

STEPS = {"queue", "claim", "copy", "create upload", "upload part", "complete upload", "record"}


@dataclass(frozen=True)
class Traced:
    """An API and a worker that export their spans."""

    client: httpx.AsyncClient
    collector: Collector
    connection: Connection
    processes: tuple[Process, Process]
    smtp: SmtpServer

    async def export(self, **headers: str) -> dict[str, Any]:
        """Perform an export, stop the service when its mail is sent, and return it.

        Only then have all spans arrived, and all lines been written.
        """
        body = {"seller_id": 1, "recipient_email": "owner@secret.example", "follower": True}
        response = await self.client.post("/exports", json=body, headers=headers)
        export = await finished(self.client, response.json()["id"])
        for process in self.processes:
            await asyncio.to_thread(process.stop)
        return export

    def lines(self, key: str, value: str) -> list[dict[str, Any]]:
        """Return the log lines of both processes in which ``key`` is ``value``."""
        logs = "".join(process.log.read_text() for process in self.processes)
        lines = map(json.loads, logs.splitlines())
        return [line for line in lines if line.get(key) == value]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """What takes the spans."""
    with open_collector() as collector:
        yield collector


@pytest.fixture
async def traced(
    sandbox: Sandbox,
    service_environment: dict[str, str],
    smtp_server: SmtpServer,
    collector: Collector,
) -> AsyncIterator[Traced]:
    """The service on the test's own servers, its spans exported when a process ends."""
    port = free_port()
    exported = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "60000",
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",  # which would tell paths, and so tokens
    }
    settings = service_environment | exported
    api = await asyncio.to_thread(start_api, sandbox, settings, port, name="traced-api")
    worker = await asyncio.to_thread(start_worker, sandbox, settings, name="traced-worker")
    connection = await connect(settings["DATABASE_URL"])
    headers = bearer(tokens.demo_tokens(settings)["SERVICE_TOKEN"])
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        yield Traced(client, collector, connection, (api, worker), smtp_server)
    await connection.close()
    await asyncio.to_thread(worker.stop)
    await asyncio.to_thread(api.stop)


def assert_unbroken(spans: list[Seen]) -> Seen:
    """Check that all spans are below one, whose parent nobody here knows, and return that one."""
    (trace,) = {span.trace for span in spans}
    ids = Counter(span.id for span in spans)
    assert set(ids.values()) == {1}
    (root,) = [span for span in spans if span.parent not in ids]
    assert trace == root.trace
    return root


async def test_an_export_is_one_unbroken_trace(traced: Traced) -> None:
    await traced.connection.execute(LONG_LISTED)
    export = await traced.export()
    spans = traced.collector.trace_of(export["id"])
    root = assert_unbroken(spans)
    assert (root.name, root.parent) == ("POST /exports", "")
    assert root.attributes["http.response.status_code"] == "202"
    by_name = {span.name: span for span in spans}
    assert by_name.keys() == {"POST /exports", "export", "mail", "complete"} | STEPS
    assert by_name["export"].parent == by_name["mail"].parent == root.id
    assert by_name["copy"].parent == by_name["record"].parent == by_name["export"].id
    assert by_name["export"].attributes["export.rows"] == str(export["file"]["rows"])
    parts = [span for span in spans if span.name == "upload part"]
    stored = sum(int(part.attributes["store.bytes"]) for part in parts)
    assert (len(parts) >= 2, stored) == (True, export["file"]["bytes"])
    assert traced.collector.paths == {"/v1/traces"}
    exported = str(traced.collector.spans)
    assert "url.path" not in exported
    assert "@" not in exported
    assert "secret" not in exported
    assert export["download_url"] not in exported


async def test_the_callers_trace_and_request_id_go_all_the_way(traced: Traced) -> None:
    sent = {"traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "checkout-7"}
    export = await traced.export(**sent)
    root = assert_unbroken(traced.collector.trace_of(export["id"]))
    assert (root.trace, root.parent) == (TRACE, CALLER)
    events = [line["event"] for line in traced.lines("request_id", "checkout-7")]
    assert events == [
        "export requested",
        "request completed",
        "export claimed",
        "export succeeded",
        "mail sent",
    ]
    assert len(traced.lines("trace_id", TRACE)) == len(events)
    (mail,) = (
        BytesParser(policy=policy.default).parsebytes(path.read_bytes())
        for path in traced.smtp.messages()
    )
    assert mail["X-Request-ID"] == "checkout-7"
