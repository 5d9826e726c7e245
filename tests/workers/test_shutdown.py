"""A worker on SIGTERM finishes or releases its exports, and ends in time even if one hangs."""

import asyncio
import signal

from app.database.connections import Connection
from app.database.database import Database
from devstack.sandbox import Sandbox
from devstack.service_processes import spawn
from tests.exports.conftest import reload
from tests.polling import until
from tests.proxy import Delay, Hang, Proxy
from tests.workers.conftest import Ask, WorkerHarness, send, until_ended

PUT = rb"^PUT /"


async def test_an_idle_worker_ends_at_once(harness: WorkerHarness) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        worker = await harness.start(SHUTDOWN_TIMEOUT_S="60")
        send(worker, number)
        assert await until_ended(worker) == 0


async def test_what_can_end_in_time_ends_mail_included(
    harness: WorkerHarness,
    create_export: Ask,
    database: Database,
    store_proxy: Proxy,
    far_store: dict[str, str],
) -> None:
    store_proxy.fault(Delay(1), on=PUT)
    worker = await harness.start(**far_store)
    export = await create_export()
    await until_put(store_proxy)
    send(worker, signal.SIGTERM)
    assert await until_ended(worker) == 0
    ended = await reload(database, export)
    assert (ended.status, ended.attempt, ended.email_status) == ("succeeded", 1, "sent")


async def test_what_does_not_end_in_time_is_released(
    harness: WorkerHarness,
    create_export: Ask,
    database: Database,
    store_proxy: Proxy,
    far_store: dict[str, str],
) -> None:
    store_proxy.fault(Hang(), on=PUT)
    worker = await harness.start(**far_store)
    export = await create_export()
    await until_put(store_proxy)
    send(worker, signal.SIGTERM)
    assert await until_ended(worker) == 0
    given_back = await reload(database, export)
    assert (given_back.status, given_back.failures) == ("queued", 0)
    await harness.start()
    ended = await harness.until_status(export, "succeeded")
    assert ended.attempt == 2


async def test_what_waits_for_a_place_is_left_to_others(
    harness: WorkerHarness,
    create_export: Ask,
    store_proxy: Proxy,
    far_store: dict[str, str],
    connection: Connection,
) -> None:
    store_proxy.fault(Hang(), on=PUT)
    busy = await harness.start(**far_store, WORKER_CONCURRENCY="1", SHUTDOWN_TIMEOUT_S="2")
    await create_export(recipient_email="first@example.com")
    await until_put(store_proxy)
    second = await create_export(recipient_email="second@example.com")
    send(busy, signal.SIGTERM)
    await harness.start()
    await harness.until_status(second, "succeeded")
    await until_ended(busy)
    assert await connection.fetchval("SELECT sum(failures) FROM exports") == 0


async def test_a_second_signal_ends_at_once(
    harness: WorkerHarness, create_export: Ask, store_proxy: Proxy, far_store: dict[str, str]
) -> None:
    store_proxy.fault(Hang(), on=PUT)
    worker = await harness.start(**far_store, SHUTDOWN_TIMEOUT_S="60")
    await create_export()
    await until_put(store_proxy)
    send(worker, signal.SIGTERM)
    await asyncio.sleep(0.2)  # signals of one kind that come together are one
    assert worker.exit_status is None
    send(worker, signal.SIGTERM)
    assert await until_ended(worker) == 1


async def test_nothing_that_hangs_keeps_a_worker_from_ending(
    harness: WorkerHarness,
    create_export: Ask,
    store_proxy: Proxy,
    far_store: dict[str, str],
    connection: Connection,
) -> None:
    """The store hangs, and the row is locked so that it cannot be handed back."""
    store_proxy.fault(Hang(), times=None)
    worker = await harness.start(**far_store, SHUTDOWN_TIMEOUT_S="1", HEARTBEAT_S="60")
    await create_export()
    await until_put(store_proxy)
    async with connection.transaction():
        await connection.execute("SELECT FROM exports FOR UPDATE")
        send(worker, signal.SIGTERM)
        assert await until_ended(worker) == 1


async def test_invalid_settings_are_named_and_their_values_are_not(
    harness: WorkerHarness, sandbox: Sandbox
) -> None:
    invalid = {"LEASE_S": "-17", "LINK_SECRET": "too short"}
    worker = spawn(sandbox, "invalid-worker", harness.environment | invalid, "workers")
    assert await until_ended(worker) == 1
    assert "LEASE_S" in worker.log_tail()
    assert "-17" not in worker.log_tail()
    assert "too short" not in worker.log_tail()


async def until_put(proxy: Proxy) -> None:
    """Wait until somebody stores a file."""

    async def has_put() -> bool:
        return proxy.count(PUT) > 0

    await until(has_put)
