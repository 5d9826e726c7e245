"""A thousand listeners on one API process: what they cost, and how soon they hear."""

import asyncio
import time

import psutil
import redis

from app.adapters.news import CHANNEL
from benchmarks.figures import Bound, Figure
from benchmarks.jobs import BenchmarkFailed
from benchmarks.options import Options
from benchmarks.outcome import Outcome
from benchmarks.requests import Requests
from benchmarks.stage import Stage

LISTENERS = 1000
AT_ONCE = 50
IDLE_S = 3.0
HEARD_WITHIN_S = 30.0
MB = 1_000_000
FINISHED = b"event: finished"
SUBSCRIPTIONS_MAX = Bound(1)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def run(stage: Stage, options: Options) -> Outcome:
    """Open the streams of one waiting export, let them idle, then end the export."""
    seller_id = stage.small_sellers(1)[0]
    stage.stop_worker()
    rounds = [asyncio.run(listen(stage, seller_id)) for _ in range(min(options.runs, 3))]
    memory, cpu, subscriptions, heard = zip(*rounds, strict=True)
    named = f"{LISTENERS:,} open streams"
    return Outcome(
        (
            Figure(f"{named}: memory of the API", memory, "MB"),
            Figure(f"{named}: share of a core when idle", cpu),
            Figure(f"{named}: Redis subscriptions", subscriptions, target=SUBSCRIPTIONS_MAX),
            Figure(f"{named}: until all know of the end", heard, "s"),
        )
    )


async def listen(stage: Stage, seller_id: int) -> tuple[float, float, float, float]:
    """Return memory (MB), idle share of a core, subscriptions, seconds until all have heard."""
    api = psutil.Process(stage.api_pid)
    export_id = stage.requests.ask(seller_id)
    before = api.memory_info().rss
    connections = await opened(stage, export_id)
    memory_mb = (api.memory_info().rss - before) / MB
    busy = cpu_s(api)
    await asyncio.sleep(IDLE_S)
    idle_share = (cpu_s(api) - busy) / IDLE_S
    subscriptions = subscribed(stage.settings["REDIS_URL"])
    ended_at = time.perf_counter()
    await asyncio.to_thread(stage.requests.cancel, export_id)
    async with asyncio.timeout(HEARD_WITHIN_S):
        await asyncio.gather(*(until_finished(reader) for reader, _ in connections))
    heard_s = time.perf_counter() - ended_at
    for _, writer in connections:
        writer.close()
    return memory_mb, idle_share, subscriptions, heard_s


async def opened(stage: Stage, export_id: str) -> list[Connection]:
    """Open all streams, some at a time, each answered with its first event."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one() -> Connection:
        async with places:
            return await open_stream(stage.requests, stage.api_port, export_id)

    return await asyncio.gather(*(one() for _ in range(LISTENERS)))


async def open_stream(requests: Requests, port: int, export_id: str) -> Connection:
    """Open one stream and read it up to its first event.

    Raises:
        BenchmarkFailed: the answer is no stream.
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
    """Return the processor time that a process has used."""
    used = process.cpu_times()
    return float(used.user + used.system)


def subscribed(redis_url: str) -> float:
    """Return how many subscriptions to the news there are."""
    with redis.Redis.from_url(redis_url) as client:
        ((_, number),) = client.pubsub_numsub(CHANNEL)
    return float(number)
