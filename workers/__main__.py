"""``python -m workers``: the worker in production, alive through restarts around it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from functools import partial

import structlog
import uvloop
from arq.worker import Worker
from redis.exceptions import RedisError

from app.adapters.doorbell import rung_lanes
from app.adapters.queue import arq_redis
from app.config import Settings, settings_from_environment
from app.ending import end
from app.errors import SettingsInvalid
from app.exports.exporter import Exporter
from app.exports.lanes import LANES
from app.exports.webhooks import Webhooks
from app.logs import configure_logs
from app.ports import Lane
from app.resources import Resources, open_resources
from app.tracing import FLUSH_S
from workers.chores import chores, count_chore, outbox, repeat
from workers.floor import Floor, Places
from workers.prompt import PromptWorker
from workers.settings import create_worker
from workers.side_door import keep_open

log = structlog.get_logger()

RECONNECT_S = 1.0
QUIET_S = 0.5
HAND_BACK_S = 1.5

GONE = (RedisError, OSError, TimeoutError)


async def main(settings: Settings) -> None:
    """Work until the first SIGTERM or SIGINT; a second one ends at once.

    After the first, what runs has ``shutdown_s`` to end before it is given
    back. Whatever hangs then, the process is gone a moment later: nothing is
    lost by that.
    """
    stopping = asyncio.Event()
    flush_s = FLUSH_S if settings.otel_exporter_otlp_endpoint else 0
    _listen_for_signals(stopping, settings.shutdown_s + QUIET_S + HAND_BACK_S + flush_s)
    async with open_resources(settings) as resources, asyncio.TaskGroup() as group:
        floor = _floor(resources, group)
        webhooks = Webhooks(
            resources.engine, resources.webhooks, settings, group, resources.metrics
        )
        done = partial(count_chore, resources.metrics, resources.metrics.watch_worker())
        loops = [
            group.create_task(_listen(resources, floor)),
            *(
                group.create_task(repeat(chore, done))
                for chore in chores(resources, floor, webhooks)
            ),
        ]
        if settings.worker_metrics_port is not None:
            loops.append(group.create_task(keep_open(resources, settings.worker_metrics_port)))
        log.info("worker started", pid=os.getpid())
        await stopping.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await end(*loops)
        await asyncio.gather(floor.close(settings.shutdown_s), webhooks.close(settings.shutdown_s))
        await end(*loops)
    log.info("worker stopped", pid=os.getpid())


def _listen_for_signals(stopping: asyncio.Event, limit_s: float) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()
        loop.call_later(limit_s, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _floor(resources: Resources, group: asyncio.TaskGroup) -> Floor:
    exporter = Exporter(
        resources.engine,
        resources.audience_engine,
        resources.storage,
        resources.queue,
        resources.news,
        resources.settings,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        metrics=resources.metrics,
        tracer=resources.tracer,
    )
    return Floor(exporter, outbox(resources), Places(resources.settings), group)


async def _listen(resources: Resources, floor: Floor) -> None:
    """Keep an arq worker running for each lane; Redis may go away and come back."""
    while True:
        workers = {lane: create_worker(resources.settings, floor, lane) for lane in LANES}
        try:
            async with asyncio.TaskGroup() as group:
                listening = {group.create_task(each.async_run()) for each in workers.values()}
                listening.add(group.create_task(_answer_the_door(resources, workers)))
                try:
                    await asyncio.wait(listening)
                finally:
                    await end(*listening)
        except* GONE as errors:
            log.warning("queue lost", error=type(errors.exceptions[0]).__name__)
        finally:
            await asyncio.gather(*map(_close, workers.values()))
        await asyncio.sleep(RECONNECT_S)


async def _answer_the_door(resources: Resources, workers: Mapping[Lane, PromptWorker]) -> None:
    redis = arq_redis(resources.settings)
    try:
        async for lane in rung_lanes(redis):
            for each in LANES if lane is None else (lane,):
                workers[each].wake()
    finally:
        await redis.aclose(close_connection_pool=True)


async def _close(worker: Worker) -> None:
    """End the jobs that wait for exports; the exports themselves go on.

    arq's own ``close`` raises what its jobs raise, a cancel among them, and
    then leaves its connections open.
    """
    for job in worker.tasks.values():
        job.cancel()
    await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
    try:
        await worker.pool.delete(worker.health_check_key)
    except GONE as error:
        log.debug("queue gone before it was closed", error=type(error).__name__)
    finally:
        await worker.pool.aclose(close_connection_pool=True)


def run() -> None:
    """Start the loop; unfit settings end it with a sentence and exit code 2."""
    settings = settings_from_environment()
    configure_logs(settings.log_format, settings.log_level)
    try:
        uvloop.run(main(settings))
    except SettingsInvalid as error:
        sys.exit(f"audience-export worker: {error}")


if __name__ == "__main__":
    run()
