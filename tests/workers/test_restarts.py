"""A worker whose servers die and come back, or that dies itself."""

import asyncio
import signal
import time
from functools import partial

import redis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job

from app.adapters.redis.queue import JOB_NAME, QUEUE_NAME, job_id, open_queue, serialize
from app.config import Settings
from app.database.connections import Connection
from app.database.database import Database
from app.ports import ExportJob
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import Store
from tests.exports.conftest import reload
from tests.polling import until
from tests.proxy import Delay, Hang, Proxy
from tests.workers.conftest import QUICK, Ask, WorkerHarness, send
from tests.workers.test_shutdown import PUT, until_put

KILLED_RUNS_AGAIN_S = 45

END_WHO_WAITS = """
    SELECT pg_terminate_backend(pid, 5000)
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
"""A claim that waits for a lock is done by the server although its worker is dead."""


async def test_a_worker_outlives_redis(
    harness: WorkerHarness, create_export: Ask, redis_server: RedisServer
) -> None:
    worker = await harness.start()
    for number in range(2):
        await asyncio.to_thread(redis_server.kill)
        export = await create_export(recipient_email=f"{number}@example.com")
        await asyncio.to_thread(redis_server.start)
        await harness.until_mailed(export)
    assert worker.exit_status is None


async def test_a_worker_outlives_postgresql(
    harness: WorkerHarness, create_export: Ask, postgres: PostgresServer
) -> None:
    worker = await harness.start()
    for number in range(2):
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.start)
        await harness.until_mailed(await create_export(recipient_email=f"{number}@example.com"))
    assert worker.exit_status is None


async def test_a_redis_that_goes_away_costs_no_attempt(
    harness: WorkerHarness,
    create_export: Ask,
    redis_server: RedisServer,
    store_proxy: Proxy,
    far_store: dict[str, str],
) -> None:
    store_proxy.fault(Delay(3), on=PUT)
    await harness.start(**far_store)
    export = await create_export()
    await until_put(store_proxy)
    await asyncio.to_thread(redis_server.kill)
    await asyncio.to_thread(redis_server.start)
    assert (await harness.until_status(export, "succeeded")).attempt == 1


async def test_what_a_queue_has_forgotten_runs_all_the_same(
    harness: WorkerHarness,
    create_export: Ask,
    redis_url: str,
    store_proxy: Proxy,
    far_store: dict[str, str],
) -> None:
    store_proxy.fault(Delay(1), on=PUT)
    await harness.start(**far_store, WORKER_CONCURRENCY="1")
    exports = [await create_export(recipient_email=f"{number}@example.com") for number in range(3)]
    await until_put(store_proxy)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    for export in exports:
        await harness.until_mailed(export)


async def test_a_killed_worker_s_export_runs_again_in_time(
    harness: WorkerHarness,
    create_export: Ask,
    store_proxy: Proxy,
    far_store: dict[str, str],
    smtp_server: object,
) -> None:
    """With the settings that an installation has unless it chooses others."""
    defaults = {name: str(Settings.model_fields[name.lower()].get_default()) for name in QUICK}
    store_proxy.fault(Hang(), on=PUT)
    victim = await harness.start(**far_store, **defaults)
    export = await create_export()
    await until_put(store_proxy)
    await harness.start(**defaults)
    killed_at = time.monotonic()
    await asyncio.to_thread(victim.kill)
    ended = await harness.until_status(export, "succeeded", within_s=KILLED_RUNS_AGAIN_S)
    assert time.monotonic() - killed_at < KILLED_RUNS_AGAIN_S
    assert (ended.attempt, ended.failures) == (2, 1)


async def test_a_worker_killed_before_its_claim_is_not_waited_for(
    harness: WorkerHarness,
    create_export: Ask,
    connection: Connection,
    database: Database,
    redis_url: str,
) -> None:
    """It had taken the job from the queue, and the job is gone with it."""
    victim = await harness.start()
    async with connection.transaction():
        export = await create_export()
        await connection.execute("SELECT FROM exports FOR UPDATE")
        with redis.Redis.from_url(redis_url) as client:
            wanted = (export.seller_id, str(export.id))
            job = serialize_job(JOB_NAME, wanted, {}, None, 1, serializer=serialize)
            client.set(job_key_prefix + job_id(export.id, 0), job)
            client.zadd(QUEUE_NAME, {job_id(export.id, 0): 1})

            async def is_taken() -> bool:
                return not client.zcard(QUEUE_NAME)

            await until(is_taken)
        await asyncio.to_thread(victim.kill)
        await connection.execute(END_WHO_WAITS)
    assert (await reload(database, export)).status == "queued"
    await harness.start()
    await harness.until_mailed(export)


async def test_more_than_a_hundred_jobs_of_killed_workers_hold_up_nobody(
    harness: WorkerHarness,
    create_export: Ask,
    settings: Settings,
    connection: Connection,
    store_proxy: Proxy,
    far_store: dict[str, str],
) -> None:
    """As arq leaves them, they would fill the window in which workers look for hours."""
    store_proxy.fault(Hang(), times=None)
    rounds, places = 4, 30
    async with open_queue(settings) as queue:
        for seller_id in range(1, rounds * places + 1):
            export = await create_export(seller_id=seller_id)
            await queue.enqueue(ExportJob(seller_id, export.id, 0))
        for number in range(1, rounds + 1):
            concurrency = str(places + 1)
            victim = await harness.start(**far_store, WORKER_CONCURRENCY=concurrency, LEASE_S="60")
            await until(partial(are_running, connection, number * places), within_s=30)
            await asyncio.to_thread(victim.kill)
        await harness.start(LEASE_S="60")
        export = await create_export(seller_id=1000)
        await queue.enqueue(ExportJob(1000, export.id, 0))
    await harness.until_status(export, "succeeded")
    assert await are_running(connection, rounds * places)


async def are_running(connection: Connection, count: int) -> bool:
    """Return whether this many exports are running."""
    query = "SELECT count(*) FROM exports WHERE status = 'running'"
    return bool(await connection.fetchval(query) == count)


async def test_sessions_that_somebody_ends_cost_attempts_and_nothing_else(
    harness: WorkerHarness, create_export: Ask, connection: Connection
) -> None:
    worker = await harness.start()
    exports = [await create_export(recipient_email=f"{number}@example.com") for number in range(5)]
    for _ in range(20):
        await connection.execute("""
            SELECT pg_terminate_backend(pid)
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND application_name <> ''
        """)
        await asyncio.sleep(0.05)
    for export in exports:
        await harness.until_mailed(export, within_s=60)
    assert worker.exit_status is None


async def test_a_frozen_worker_does_not_hold_up_the_rest(
    harness: WorkerHarness, create_export: Ask
) -> None:
    frozen, _ = await harness.start(), await harness.start()
    send(frozen, signal.SIGSTOP)
    exports = [await create_export(recipient_email=f"{number}@example.com") for number in range(5)]
    for export in exports:
        await harness.until_mailed(export)


async def test_a_worker_expires_files_whose_time_is_over(
    harness: WorkerHarness, create_export: Ask, connection: Connection, moto_store: Store
) -> None:
    await harness.start()
    export = await harness.until_mailed(await create_export())
    await connection.execute("UPDATE exports SET expires_at = clock_timestamp()")
    await harness.until_status(export, "expired")
    with moto_store.client() as client:
        assert "Contents" not in client.list_objects_v2(Bucket=moto_store.bucket)
