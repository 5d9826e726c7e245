"""A worker told to stop: finishes or hands back, and is gone in time whatever hangs."""

import asyncio
import signal
import time

from sqlalchemy.ext.asyncio import AsyncEngine

from app.database import Connection
from devstack.sandbox import Sandbox
from devstack.service import spawn
from tests.exports.conftest import reread
from tests.proxy import Delay, Hang, Proxy
from tests.waiting import until
from tests.workers.conftest import Ask, Workshop, send, until_ended

PUT = rb"^PUT /"


async def test_an_idle_worker_ends_at_once(workshop: Workshop) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        worker = await workshop.start()
        send(worker, number)
        assert await until_ended(worker, within_s=5) == 0


async def test_what_can_end_in_time_ends_mail_included(
    workshop: Workshop,
    ask: Ask,
    engine: AsyncEngine,
    store_proxy: Proxy,
    far_store: dict[str, str],
) -> None:
    store_proxy.fault(Delay(1), on=PUT)
    worker = await workshop.start(**far_store)
    export = await ask()
    await until_put(store_proxy)
    send(worker, signal.SIGTERM)
    assert await until_ended(worker, within_s=8) == 0
    ended = await reread(engine, export)
    assert (ended.status, ended.attempt, ended.email_status) == ("succeeded", 1, "sent")


async def test_what_does_not_end_in_time_is_handed_back_within_ten_seconds(
    workshop: Workshop,
    ask: Ask,
    engine: AsyncEngine,
    store_proxy: Proxy,
    far_store: dict[str, str],
) -> None:
    store_proxy.fault(Hang(), on=PUT)
    worker = await workshop.start(**far_store)
    export = await ask()
    await until_put(store_proxy)
    told_at = time.monotonic()
    send(worker, signal.SIGTERM)
    assert await until_ended(worker, within_s=15) == 0
    assert time.monotonic() - told_at < 10
    given_back = await reread(engine, export)
    assert (given_back.status, given_back.failures) == ("queued", 0)
    await workshop.start()
    ended = await workshop.until_status(export, "succeeded")
    assert ended.attempt == 2


async def test_what_waits_for_a_place_is_left_to_others(
    workshop: Workshop,
    ask: Ask,
    store_proxy: Proxy,
    far_store: dict[str, str],
    connection: Connection,
) -> None:
    store_proxy.fault(Hang(), on=PUT)
    busy = await workshop.start(**far_store, WORKER_CONCURRENCY="1", SHUTDOWN_S="2")
    await ask(recipient_email="first@example.com")
    await until_put(store_proxy)
    second = await ask(recipient_email="second@example.com")
    send(busy, signal.SIGTERM)
    await workshop.start()
    await workshop.until_status(second, "succeeded")
    await until_ended(busy, within_s=10)
    assert await connection.fetchval("SELECT sum(failures) FROM exports") == 0


async def test_a_second_signal_ends_at_once(
    workshop: Workshop, ask: Ask, store_proxy: Proxy, far_store: dict[str, str]
) -> None:
    store_proxy.fault(Hang(), on=PUT)
    worker = await workshop.start(**far_store, SHUTDOWN_S="60")
    await ask()
    await until_put(store_proxy)
    send(worker, signal.SIGTERM)
    await asyncio.sleep(0.2)  # signals of one kind that come together are one
    assert worker.exit_status is None
    send(worker, signal.SIGTERM)
    assert await until_ended(worker, within_s=3) == 1


async def test_nothing_that_hangs_keeps_a_worker_from_ending(
    workshop: Workshop,
    ask: Ask,
    store_proxy: Proxy,
    far_store: dict[str, str],
    connection: Connection,
) -> None:
    """The store hangs, and the row is locked so that it cannot be handed back."""
    store_proxy.fault(Hang(), times=None)
    worker = await workshop.start(**far_store, SHUTDOWN_S="1", HEARTBEAT_S="60")
    await ask()
    await until_put(store_proxy)
    async with connection.transaction():
        await connection.execute("SELECT FROM exports FOR UPDATE")
        send(worker, signal.SIGTERM)
        assert await until_ended(worker, within_s=5) == 1


async def test_unfit_settings_are_named_and_their_values_are_not(
    workshop: Workshop, sandbox: Sandbox
) -> None:
    unfit = {"LEASE_S": "-17", "LINK_SECRET": "too short"}
    worker = spawn(sandbox, "unfit-worker", workshop.environment | unfit, "workers")
    assert await until_ended(worker, within_s=20) == 1
    assert "LEASE_S" in worker.log_tail()
    assert "-17" not in worker.log_tail()
    assert "too short" not in worker.log_tail()


async def until_put(proxy: Proxy) -> None:
    """Wait until somebody stores a file."""

    async def has_put() -> bool:
        return proxy.count(PUT) > 0

    await until(has_put)
