"""A thousand event streams on one API process: their cost, and the delay of an event."""

import asyncio
import time

import psutil
import redis

from app.adapters.redis.pubsub import CHANNEL
from benchmarks.harness.api_client import ApiClient
from benchmarks.harness.environment import Environment
from benchmarks.harness.options import Options
from benchmarks.processes.subprocesses import BenchmarkFailed
from benchmarks.reporting.figures import Bound, Figure
from benchmarks.reporting.result import ScenarioResult

LISTENERS = 1000
CONCURRENT_OPENS = 50
IDLE_S = 3.0
NOTIFIED_WITHIN_S = 30.0
MB = 1_000_000
FINISHED = b"event: finished"
SUBSCRIPTIONS_MAX = Bound(1)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def run(environment: Environment, options: Options) -> ScenarioResult:
    """Open streams of one queued export, let them idle, then end the export."""
    seller_id = environment.small_sellers(1)[0]
    environment.stop_worker()
    rounds = [asyncio.run(listen(environment, seller_id)) for _ in range(min(options.runs, 3))]
    memory, cpu, subscriptions, notified = zip(*rounds, strict=True)
    named = f"{LISTENERS:,} open streams"
    return ScenarioResult(
        (
            Figure(f"{named}: memory of the API", memory, "MB"),
            Figure(f"{named}: share of a core when idle", cpu),
            Figure(f"{named}: Redis subscriptions", subscriptions, target=SUBSCRIPTIONS_MAX),
            Figure(f"{named}: until all know of the end", notified, "s"),
        )
    )


async def listen(environment: Environment, seller_id: int) -> tuple[float, float, float, float]:
    """Return memory (MB), idle share of a core, subscriptions, seconds until all were notified."""
    api = psutil.Process(environment.api_pid)
    export_id = environment.requests.create_export(seller_id)
    before = api.memory_info().rss
    connections = await open_connections(environment, export_id)
    memory_mb = (api.memory_info().rss - before) / MB
    busy = cpu_s(api)
    await asyncio.sleep(IDLE_S)
    idle_share = (cpu_s(api) - busy) / IDLE_S
    subscriptions = subscribed(environment.settings["REDIS_URL"])
    ended_at = time.perf_counter()
    await asyncio.to_thread(environment.requests.cancel, export_id)
    async with asyncio.timeout(NOTIFIED_WITHIN_S):
        await asyncio.gather(*(until_finished(reader) for reader, _ in connections))
    notified_s = time.perf_counter() - ended_at
    for _, writer in connections:
        writer.close()
    return memory_mb, idle_share, subscriptions, notified_s


async def open_connections(environment: Environment, export_id: str) -> list[Connection]:
    """Open all streams, some at a time, and read the first event of each."""
    slots = asyncio.Semaphore(CONCURRENT_OPENS)

    async def one() -> Connection:
        async with slots:
            return await open_stream(environment.requests, environment.api_port, export_id)

    return await asyncio.gather(*(one() for _ in range(LISTENERS)))


async def open_stream(requests: ApiClient, port: int, export_id: str) -> Connection:
    """Open one stream and read it up to its first event.

    Raises:
        BenchmarkFailed: the response is not an event stream.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(requests.events_request(export_id))
    status = await reader.readline()
    if b" 200 " not in status:
        raise BenchmarkFailed(f"the events were answered {status.decode()}")
    await reader.readuntil(b"event: ")
    return reader, writer


async def until_finished(reader: asyncio.StreamReader) -> None:
    """Read a stream up to its last event."""
    while True:
        line = await reader.readline()
        if FINISHED in line:
            return
        if not line:
            raise BenchmarkFailed("a stream ended before its export")


def cpu_s(process: psutil.Process) -> float:
    """Return the processor seconds that a process has used."""
    used = process.cpu_times()
    return float(used.user + used.system)


def subscribed(redis_url: str) -> float:
    """Return the number of subscriptions to the channel of export changes."""
    with redis.Redis.from_url(redis_url) as client:
        ((_, number),) = client.pubsub_numsub(CHANNEL)
    return float(number)
