"""The worker's own port: alive, ready, metrics; and no reason to stop working."""

import asyncio
import socket
import time

import httpx

from devstack.sandbox import free_port
from tests.polling import until
from tests.workers.conftest import Ask, WorkerHarness


async def test_a_worker_tells_how_it_is_and_what_it_did(
    harness: WorkerHarness, create_export: Ask
) -> None:
    port = free_port()
    await harness.start(WORKER_METRICS_PORT=str(port))
    await harness.until_mailed(await create_export())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/healthz")).json() == {"status": "alive"}
        assert (await client.get("/exports")).status_code == 404

        async def is_ready() -> bool:
            status: str = (await client.get("/readyz")).json()["status"]
            return status == "ready"

        await until(is_ready)

        async def is_counted() -> bool:
            text = (await client.get("/metrics")).text
            return 'mails_total{kind="ready",outcome="sent"} 1.0' in text

        await until(is_counted)
        lines = (await client.get("/metrics")).text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values['audience_export_exports_finished_total{code="",status="succeeded"}'] == "1.0"
    heartbeat = float(values["audience_export_worker_heartbeat_timestamp_seconds"])
    assert abs(time.time() - heartbeat) < 30
    task = (
        'audience_export_periodic_task_runs_total{outcome="succeeded",'
        'task="reclaim expired leases"}'
    )
    assert float(values[task]) > 0


async def test_a_worker_whose_port_is_taken_works_and_gets_it_later(
    harness: WorkerHarness, create_export: Ask
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        worker = await harness.start(WORKER_METRICS_PORT=str(port))
        await harness.until_status(await create_export(), "succeeded")
        assert b"metrics port taken" in await asyncio.to_thread(worker.log.read_bytes)

    async def answers() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"http://127.0.0.1:{port}/healthz")).is_success
            except httpx.TransportError:
                return False

    await until(answers, 20)
