"""``python -m workers``: the worker in production, alive through restarts around it."""

import asyncio
import os
import signal
import socket
import sys

import structlog
import uvloop
from arq.worker import Worker
from redis.exceptions import RedisError

from app.config import Settings
from app.errors import SettingsInvalid
from app.exports.exporter import Exporter
from app.resources import Resources, open_resources
from workers.chores import chores, outbox, repeat
from workers.floor import Floor
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
            *(group.create_task(repeat(chore)) for chore in chores(resources, floor)),
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
    exporter = Exporter(
        resources.engine,
        resources.audience_engine,
        resources.storage,
        resources.queue,
        resources.news,
        resources.settings,
        worker=f"{socket.gethostname()}:{os.getpid()}",
    )
    return Floor(exporter, outbox(resources), resources.settings.worker_concurrency, group)


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


def run() -> None:
    """Start the loop; unfit settings end it with a sentence and exit code 2."""
    try:
        uvloop.run(main())
    except SettingsInvalid as error:
        sys.exit(f"audience-export worker: {error}")


if __name__ == "__main__":
    run()
