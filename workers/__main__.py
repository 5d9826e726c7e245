"""``python -m workers``: the worker in production, alive through restarts around it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

import structlog
import uvloop
from arq.worker import Worker
from redis.exceptions import RedisError

from app.config import Settings
from app.errors import ServiceError, SettingsInvalid
from app.exports.exporter import Exporter
from app.exports.outbox import Outbox
from app.exports.residue import Residue
from app.exports.sweep import Sweep
from app.resources import Resources, open_resources
from workers.floor import MAILS_AT_ONCE, Floor
from workers.settings import create_worker

log = structlog.get_logger()

RECONNECT_S = 1.0

GONE = (RedisError, OSError, TimeoutError)


async def main() -> None:
    """Work until the first SIGTERM or SIGINT; a second one ends at once."""
    stopping = asyncio.Event()
    _listen_for_signals(stopping)
    async with open_resources(Settings()) as resources, asyncio.TaskGroup() as group:
        floor = _floor(resources, group)
        loops = [
            group.create_task(_listen(resources, floor)),
            group.create_task(_repeat(_sweeping(resources), resources.settings.sweep_s)),
            group.create_task(_repeat(_mailing(resources, floor), resources.settings.sweep_s)),
        ]
        log.info("worker started", pid=os.getpid())
        await stopping.wait()
        for loop in loops:
            loop.cancel()
        await floor.hand_back(resources.settings.shutdown_s)
    log.info("worker stopped", pid=os.getpid())


def _listen_for_signals(stopping: asyncio.Event) -> None:
    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _floor(resources: Resources, group: asyncio.TaskGroup) -> Floor:
    settings = resources.settings
    exporter = Exporter(
        resources.engine,
        resources.audience_engine,
        resources.storage,
        resources.queue,
        resources.news,
        settings,
        worker=f"{socket.gethostname()}:{os.getpid()}",
    )
    outbox = _outbox(resources)
    return Floor(exporter, outbox, settings.worker_concurrency, group)


def _outbox(resources: Resources) -> Outbox:
    return Outbox(
        resources.engine,
        resources.mailer,
        resources.storage,
        resources.links,
        resources.settings,
    )


async def _listen(resources: Resources, floor: Floor) -> None:
    """Keep an arq worker running; Redis may go away and come back."""
    while True:
        worker = create_worker(resources.settings, floor)
        try:
            await worker.async_run()
        except GONE as error:
            log.warning("queue lost", error=type(error).__name__)
        finally:
            await _close(worker)
        await asyncio.sleep(RECONNECT_S)


async def _close(worker: Worker) -> None:
    """Cancel the jobs that wait for exports; the exports themselves go on."""
    try:
        await worker.close()
    except GONE as error:
        log.debug("queue gone before it was closed", error=type(error).__name__)


def _sweeping(resources: Resources) -> Callable[[], Awaitable[None]]:
    residue = Residue(
        resources.engine, resources.audience_engine, resources.storage, resources.settings
    )
    sweep = Sweep(resources.engine, resources.queue, resources.news, residue, resources.settings)

    async def once() -> None:
        await sweep.take_back()
        await sweep.ring_for_waiting()
        await sweep.clear_residue()

    return once


def _mailing(resources: Resources, floor: Floor) -> Callable[[], Awaitable[None]]:
    outbox = _outbox(resources)

    async def once() -> None:
        for export in await outbox.claim_due(MAILS_AT_ONCE):
            floor.mail(export)

    return once


async def _repeat(step: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        try:
            await step()
        except ServiceError as error:
            log.warning("step put off", error=error.code)
        await asyncio.sleep(every_s)


def run() -> None:
    """Start the loop; unfit settings end it with a sentence and exit code 2."""
    try:
        uvloop.run(main())
    except SettingsInvalid as error:
        sys.exit(f"audience-export worker: {error}")


if __name__ == "__main__":
    run()
