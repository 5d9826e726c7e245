"""An HTTP client that runs exports and reads the service's timestamps."""

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from benchmarks.processes.subprocesses import BenchmarkFailed

FLAGS = {"follower": True, "customer": True, "affiliate": True}
WAIT_S = 30
EXPORT_TIMEOUT_S = 600
MAIL_TIMEOUT_S = 30
POLL_S = 0.005


@dataclass(frozen=True)
class CompletedExport:
    """A finished export: its file, and its durations from the row's timestamps.

    ``processing_s`` is from claim to success, ``total_s`` from request to success,
    ``answered_s`` from sending the POST until the client received the success.
    """

    id: str
    rows: int
    bytes: int
    processing_s: float
    total_s: float
    answered_s: float


def body_for(seller_id: int) -> dict[str, Any]:
    """Return the request of all of a seller's members."""
    return {**FLAGS, "seller_id": seller_id, "recipient_email": f"seller{seller_id}@example.com"}


class ApiClient:
    """A client of the API with a token for every seller."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers=self._headers,
            timeout=WAIT_S + 30,
            trust_env=False,
        )

    def clone(self) -> "ApiClient":
        """Return a client for another thread."""
        return ApiClient(self._port, self._token)

    def post_load(self, sellers: range, connections: int) -> dict[str, Any]:
        """Return a load of POSTs by all of ``sellers``, no two identical."""
        body = json.dumps({**FLAGS, "seller_id": "{value}", "recipient_email": "{number}@x.co"})
        return {
            **self._load(connections),
            "method": "POST",
            "paths": ["/exports"],
            "body": body.replace('"{value}"', "{value}"),
            "values": list(sellers),
        }

    def get_load(self, export_ids: list[str], connections: int) -> dict[str, Any]:
        """Return a load of GETs of exports."""
        paths = [f"/exports/{export_id}" for export_id in export_ids]
        return {**self._load(connections), "method": "GET", "paths": paths}

    def create_export(self, seller_id: int) -> str:
        """Create an export and return its id.

        Raises:
            BenchmarkFailed: the request is refused.
        """
        response = self._client.post("/exports", json=body_for(seller_id))
        if response.status_code != httpx.codes.ACCEPTED:
            raise BenchmarkFailed(f"POST /exports: {response.status_code} {response.text}")
        return str(response.json()["id"])

    def post_events(self, body: bytes) -> None:
        """Send a batch of events.

        Raises:
            BenchmarkFailed: the batch is not applied.
        """
        kind = {"Content-Type": "application/x-ndjson"}
        answer = self._client.post("/audience/events", content=body, headers=kind)
        if answer.status_code != httpx.codes.OK:
            raise BenchmarkFailed(f"POST /audience/events: {answer.status_code} {answer.text}")

    def cancel(self, export_id: str) -> None:
        """Cancel an export."""
        self._client.delete(f"/exports/{export_id}").raise_for_status()

    def events_request(self, export_id: str) -> bytes:
        """Return the bytes of the HTTP request for an export's event stream."""
        lines = [
            f"GET /exports/{export_id}/events HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            *(f"{name}: {value}" for name, value in self._headers.items()),
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def run_export(self, seller_id: int, **options: bool | str) -> CompletedExport:
        """Create an export with ``options`` and wait until it has succeeded.

        Raises:
            BenchmarkFailed: it fails, or takes too long.
        """
        sent_at = time.perf_counter()
        response = self._client.post("/exports", json=body_for(seller_id) | options)
        if response.status_code != httpx.codes.ACCEPTED:
            raise BenchmarkFailed(f"POST /exports: {response.status_code} {response.text}")
        export = response.json()
        while export["status"] in ("queued", "running"):
            if time.perf_counter() - sent_at > EXPORT_TIMEOUT_S:
                raise BenchmarkFailed(f"the export does not end: {export}")
            export = self._client.get(f"/exports/{export['id']}", params={"wait": WAIT_S}).json()
        answered_s = time.perf_counter() - sent_at
        if export["status"] != "succeeded":
            raise BenchmarkFailed(f"the export {export['status']}: {export['error']}")
        return _performed(export, answered_s)

    def wait_until_mailed(self, export_id: str) -> None:
        """Wait until the mail server has accepted the export's mail.

        Raises:
            BenchmarkFailed: it takes too long.
        """
        deadline = time.monotonic() + MAIL_TIMEOUT_S
        while time.monotonic() < deadline:
            export = self._client.get(f"/exports/{export_id}").json()
            if export["email"]["status"] == "sent":
                return
            time.sleep(POLL_S)
        raise BenchmarkFailed(f"no mail went out for export {export_id}")

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def _load(self, connections: int) -> dict[str, Any]:
        headers = {**self._headers, "Content-Type": "application/json"}
        return {"port": self._port, "connections": connections, "headers": headers}


def _performed(export: dict[str, Any], answered_s: float) -> CompletedExport:
    created_at, started_at, finished_at = (
        datetime.fromisoformat(export[name]) for name in ("created_at", "started_at", "finished_at")
    )
    return CompletedExport(
        id=export["id"],
        rows=export["file"]["rows"],
        bytes=export["file"]["bytes"],
        processing_s=(finished_at - started_at).total_seconds(),
        total_s=(finished_at - created_at).total_seconds(),
        answered_s=answered_s,
    )
