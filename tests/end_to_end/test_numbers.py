"""Fifty exports, and the same numbers in the metrics, the statistics and the logs."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from app.adapters.s3.client import TRIES
from app.database.connections import connect
from devstack import tokens
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service_processes import start_api, start_worker
from tests.audience.storefront import Storefront
from tests.polling import until
from tests.proxy import Answer, open_proxy

SELLERS = range(501, 511)
EACH = 5
REFUSED = (503, 507)
SHAKY = 509
CANCELLED = 3
POLL_S = 0.2

FAILED = len(REFUSED) * EACH
SUCCEEDED = len(SELLERS) * EACH - FAILED - CANCELLED

DENIED = Answer(403, b"<Error><Code>AccessDenied</Code><Message>No</Message></Error>")
BUSY = Answer(503, b"<Error><Code>SlowDown</Code><Message>Later</Message></Error>")

Samples = Counter[tuple[str, tuple[tuple[str, str], ...]]]


@dataclass(frozen=True)
class Shop:
    """The service as in production, an API and a worker, and what they tell."""

    client: httpx.AsyncClient
    ports: tuple[int, ...]
    processes: tuple[Process, ...]

    async def metrics(self) -> Samples:
        """Return every counter, summed over the processes."""
        found: Samples = Counter()
        for port in self.ports:
            text = (await self.client.get(f"http://127.0.0.1:{port}/metrics")).text
            for family in text_string_to_metric_families(text):
                if family.type in ("counter", "histogram"):
                    for each in family.samples:
                        found[each.name, tuple(sorted(each.labels.items()))] += each.value  # type: ignore[assignment]  # counters of Prometheus are floats
        return found

    async def lines(self) -> list[dict[str, Any]]:
        """Return every line that the processes logged about exports."""
        texts = [await asyncio.to_thread(process.log.read_text) for process in self.processes]
        lines = [json.loads(line) for text in texts for line in text.splitlines() if line[0] == "{"]
        return [line for line in lines if "export_id" in line]


@asynccontextmanager
async def running_shop(
    sandbox: Sandbox, settings: Mapping[str, str], store_port: int
) -> AsyncIterator[tuple[Shop, list[dict[str, Any]]]]:
    """Start the API, ask for everything, cancel a little, then start the worker."""
    api_port, worker_port = free_port(), free_port()
    token = tokens.demo_tokens(settings)["SERVICE_TOKEN"]
    far = {
        "S3_ENDPOINT_URL": f"http://127.0.0.1:{store_port}",
        "WORKER_METRICS_PORT": str(worker_port),
    }
    processes: list[Process] = []
    try:
        processes.append(
            await asyncio.to_thread(start_api, sandbox, settings, api_port, name="numbers-api")
        )
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{api_port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        ) as client:
            requested = await create_export(client)
            worker = {**settings, **far}
            processes.append(
                await asyncio.to_thread(start_worker, sandbox, worker, name="numbers-worker")
            )
            yield Shop(client, (api_port, worker_port), tuple(processes)), requested
    finally:
        for process in processes:
            await asyncio.to_thread(process.stop)


async def create_export(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Ask for all exports, and cancel the first seller's first ones."""
    requested = []
    for seller_id in SELLERS:
        for number in range(EACH):
            body = {
                "seller_id": seller_id,
                "recipient_email": f"{number}.{seller_id}@example.com",
                "follower": True,
            }
            answer = await client.post("/exports", json=body)
            assert answer.status_code == 202, answer.text
            requested.append(answer.json())
    for export in requested[:CANCELLED]:
        assert (await client.delete(f"/exports/{export['id']}")).json()["status"] == "cancelled"
    return requested


async def ended(shop: Shop, requested: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all exports when each has ended and its mail is counted."""

    async def are_delivered() -> bool:
        await asyncio.sleep(POLL_S)  # a scrape costs more than a look
        counted = await shop.metrics()
        mails = sum(n for (name, _), n in counted.items() if name.endswith("_mails_total"))
        return mails >= SUCCEEDED + FAILED

    await until(are_delivered, 60)
    found: list[dict[str, Any]] = (await shop.client.get("/exports?limit=100")).json()["items"]
    assert {export["id"] for export in found} == {export["id"] for export in requested}
    return found


async def test_metrics_statistics_and_logs_tell_the_same_of_fifty_exports(
    sandbox: Sandbox, service_environment: dict[str, str]
) -> None:
    settings = service_environment | {"RETRY_BASE_S": "0.05", "RETRY_MAX_S": "0.05"}
    settings |= {"LOG_FORMAT": "json", "RECOVERY_INTERVAL_S": "0.2", "WORKER_CONCURRENCY": "10"}
    await populate(settings["DATABASE_URL"])
    port = urlsplit(settings["S3_ENDPOINT_URL"]).port
    assert port is not None
    async with open_proxy("127.0.0.1", port) as store:
        for seller_id in REFUSED:
            store.fault(DENIED, on=rb"^PUT /[^ ]*/%d/" % seller_id, times=None)
        store.fault(BUSY, on=rb"^PUT /[^ ]*/%d/" % SHAKY, times=EACH * TRIES)
        async with running_shop(sandbox, settings, store.port) as (shop, requested):
            exports = await ended(shop, requested)
            assert_outcomes(exports)
            assert_metrics(await shop.metrics(), exports, await shop.lines())
            assert_statistics((await shop.client.get("/stats?days=2")).json(), exports)
            assert_logs(await shop.lines(), exports)


async def populate(database_url: str) -> None:
    """Give each seller as many followers as its number's last digit says, and one more."""
    connection = await connect(database_url)
    storefront = Storefront(connection)
    for seller_id in SELLERS:
        for number in range(seller_id % 10 + 1):
            await storefront.follow(f"fan{number}@x.co", seller_id=seller_id)
    await connection.close()


def assert_outcomes(exports: list[dict[str, Any]]) -> None:
    """Fail unless what was to succeed has succeeded, and nothing else."""
    status = Counter(export["status"] for export in exports)
    assert status == {"succeeded": SUCCEEDED, "failed": FAILED, "cancelled": CANCELLED}
    codes = {export["error"]["code"] for export in exports if export["error"]}
    assert codes == {"storage_refused"}


def written(exports: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the rows and bytes of all files."""
    files = [export["file"] for export in exports if export["file"]]
    return sum(file["rows"] for file in files), sum(file["bytes"] for file in files)


def assert_metrics(
    samples: Samples, exports: list[dict[str, Any]], lines: list[dict[str, Any]]
) -> None:
    """Fail unless the counters of all processes add up to what happened."""

    def value(name: str, **labels: str) -> float:
        return samples[f"audience_export_{name}", tuple(sorted(labels.items()))]

    assert value("exports_requested_total") == len(exports)
    assert value("exports_finished_total", status="succeeded", code="") == SUCCEEDED
    assert value("exports_finished_total", status="failed", code="storage_refused") == FAILED
    assert value("exports_finished_total", status="cancelled", code="") == CANCELLED
    assert (value("rows_total"), value("bytes_total")) == written(exports)
    assert value("processing_seconds_count") == value("queue_seconds_count") == SUCCEEDED
    assert value("mails_total", kind="ready", outcome="sent") == SUCCEEDED
    assert value("mails_total", kind="failed", outcome="sent") == FAILED
    assert value("leases_reclaimed_total") == 0
    retries = [line for line in lines if line["event"] == "export requeued"]
    assert value("retries_total", code="storage_unavailable") == len(retries) > 0
    posted = value("http_requests_total", method="POST", route="/exports", status="202")
    assert posted == len(exports)
    families = {name for name, _ in samples if "_finished_" in name}
    assert sum(n for (name, _), n in samples.items() if name in families) == len(exports)


def assert_statistics(found: dict[str, Any], exports: list[dict[str, Any]]) -> None:
    """Fail unless the statistics add up to what happened."""
    ends = {"requested": len(exports), "succeeded": SUCCEEDED, "failed": FAILED}
    assert found | ends | {"cancelled": CANCELLED} == found
    assert round(found["failure_rate"], 4) == round(FAILED / (FAILED + SUCCEEDED), 4)
    assert (found["rows"], found["bytes"]) == written(exports)
    assert found["errors"] == [{"code": "storage_refused", "exports": FAILED}]
    assert sum(day["requested"] for day in found["per_day"]) == len(exports)
    assert sum(day["succeeded"] for day in found["per_day"]) == SUCCEEDED
    sellers = {each["seller_id"]: each["requested"] for each in found["top_sellers"]}
    assert sellers == dict.fromkeys(SELLERS, EACH)
    assert [each["requested"] for each in found["by_sources"]] == [len(exports)]
    assert 0 < found["processing_s"]["p50"] <= found["processing_s"]["p95"]


def assert_logs(lines: list[dict[str, Any]], exports: list[dict[str, Any]]) -> None:
    """Fail unless each change of each export's state has one line."""
    logged = Counter((line["event"], line["export_id"]) for line in lines)
    for export in exports:
        is_run = export["status"] != "cancelled"
        assert logged["export requested", export["id"]] == 1
        assert logged[f"export {export['status']}", export["id"]] == 1
        claims = logged["export requeued", export["id"]] + is_run
        assert logged["export claimed", export["id"]] == claims
        assert logged["mail sent", export["id"]] == is_run
    ends = Counter(line["event"] for line in lines)
    assert ends["export succeeded"] == SUCCEEDED
    assert ends["export failed"] == FAILED
    assert ends["export cancelled"] == CANCELLED
    rows = [line["rows"] for line in lines if line["event"] == "export succeeded"]
    assert sum(rows) == written(exports)[0]
