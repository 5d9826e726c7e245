"""A worker whose servers die and come back, or that dies itself."""

import asyncio
import signal
import time

import redis
from sqlalchemy.ext.asyncio import AsyncEngine

from app.config import Settings
from app.database import Connection
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import Store
from tests.exports.conftest import reread
from tests.proxy import Delay, Hang, Proxy
from tests.waiting import until
from tests.workers.conftest import QUICK, Ask, Workshop, send
from tests.workers.test_shutdown import PUT, until_put

KILLED_RUNS_AGAIN_S = 45

END_WHO_WAITS = """
    SELECT pg_terminate_backend(pid, 5000)
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
"""A claim that waits for a lock is done by the server although its worker is dead."""


async def test_a_worker_outlives_redis(
    workshop: Workshop, ask: Ask, redis_server: RedisServer
) -> None:
    worker = await workshop.start()
    for number in range(2):
        await asyncio.to_thread(redis_server.kill)
        export = await ask(recipient_email=f"{number}@example.com")
        await asyncio.to_thread(redis_server.start)
        await workshop.until_mailed(export)
    assert worker.exit_status is None


async def test_a_worker_outlives_postgresql(
    workshop: Workshop, ask: Ask, postgres: PostgresServer
) -> None:
    worker = await workshop.start()
    for number in range(2):
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.start)
        await workshop.until_mailed(await ask(recipient_email=f"{number}@example.com"))
    assert worker.exit_status is None


async def test_a_redis_that_goes_away_costs_no_attempt(
    workshop: Workshop,
    ask: Ask,
    redis_server: RedisServer,
    store_proxy: Proxy,
    far_store: dict[str, str],
) -> None:
    store_proxy.fault(Delay(3), on=PUT)
    await workshop.start(**far_store)
    export = await ask()
    await until_put(store_proxy)
    await asyncio.to_thread(redis_server.kill)
    await asyncio.to_thread(redis_server.start)
    assert (await workshop.until_status(export, "succeeded")).attempt == 1


async def test_what_a_queue_has_forgotten_runs_all_the_same(
    workshop: Workshop, ask: Ask, redis_url: str, store_proxy: Proxy, far_store: dict[str, str]
) -> None:
    store_proxy.fault(Delay(1), on=PUT)
    await workshop.start(**far_store, WORKER_CONCURRENCY="1")
    asked = [await ask(recipient_email=f"{number}@example.com") for number in range(3)]
    await until_put(store_proxy)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    for export in asked:
        await workshop.until_mailed(export)


async def test_a_killed_worker_s_export_runs_again_in_time(
    workshop: Workshop,
    ask: Ask,
    store_proxy: Proxy,
    far_store: dict[str, str],
    smtp_server: object,
) -> None:
    """With the settings that an installation has unless it chooses others."""
    defaults = {name: str(Settings.model_fields[name.lower()].get_default()) for name in QUICK}
    store_proxy.fault(Hang(), on=PUT)
    victim = await workshop.start(**far_store, **defaults)
    export = await ask()
    await until_put(store_proxy)
    await workshop.start(**defaults)
    killed_at = time.monotonic()
    await asyncio.to_thread(victim.kill)
    ended = await workshop.until_status(export, "succeeded", within_s=KILLED_RUNS_AGAIN_S)
    assert time.monotonic() - killed_at < KILLED_RUNS_AGAIN_S
    assert (ended.attempt, ended.failures) == (2, 1)


async def test_a_worker_killed_before_its_claim_is_not_waited_for(
    workshop: Workshop, ask: Ask, connection: Connection, engine: AsyncEngine, redis_url: str
) -> None:
    """It had taken the job from the queue, and arq keeps it for the dead for hours."""
    victim = await workshop.start()
    async with connection.transaction():
        export = await ask()
        await connection.execute("SELECT FROM exports FOR UPDATE")

        async def is_taken() -> bool:
            with redis.Redis.from_url(redis_url) as client:
                return bool(list(client.scan_iter("arq:in-progress:*")))

        await until(is_taken)
        await asyncio.to_thread(victim.kill)
        await connection.execute(END_WHO_WAITS)
    assert (await reread(engine, export)).status == "queued"
    await workshop.start()
    await workshop.until_mailed(export)


async def test_sessions_that_somebody_ends_cost_attempts_and_nothing_else(
    workshop: Workshop, ask: Ask, connection: Connection
) -> None:
    worker = await workshop.start()
    asked = [await ask(recipient_email=f"{number}@example.com") for number in range(5)]
    for _ in range(20):
        await connection.execute("""
            SELECT pg_terminate_backend(pid)
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND application_name <> ''
        """)
        await asyncio.sleep(0.05)
    for export in asked:
        await workshop.until_mailed(export, within_s=60)
    assert worker.exit_status is None


async def test_a_frozen_worker_does_not_hold_up_the_rest(workshop: Workshop, ask: Ask) -> None:
    frozen, _ = await workshop.start(), await workshop.start()
    send(frozen, signal.SIGSTOP)
    asked = [await ask(recipient_email=f"{number}@example.com") for number in range(5)]
    for export in asked:
        await workshop.until_mailed(export)


async def test_a_worker_expires_files_whose_time_is_over(
    workshop: Workshop, ask: Ask, connection: Connection, moto_store: Store
) -> None:
    await workshop.start()
    export = await workshop.until_mailed(await ask())
    await connection.execute("UPDATE exports SET expires_at = clock_timestamp()")
    await workshop.until_status(export, "expired")
    with moto_store.client() as client:
        assert "Contents" not in client.list_objects_v2(Bucket=moto_store.bucket)
