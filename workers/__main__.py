"""``python -m workers``: the worker process, which outlives restarts of its dependencies."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from functools import partial
from secrets import token_hex

import structlog
import uvloop

from app.concurrency import cancel_and_wait
from app.config import Settings, settings_from_environment
from app.errors import SettingsInvalid
from app.exports.execution.exporter import Exporter
from app.exports.execution.yield_gate import YieldGate
from app.observability.logs import configure_logs
from app.observability.tracing import FLUSH_S
from app.observability.unexpected_errors import run_forever
from app.resources import Resources, open_resources
from app.webhooks.deliveries import WebhookDispatcher
from workers.executor import ExecutionSlots, ExportExecutor
from workers.fleet_tasks import FleetTasks
from workers.health_server import serve_health
from workers.maintenance import build_outbox, maintenance_tasks, record_run, run_periodically
from workers.queue_consumer import QueueConsumer

log = structlog.get_logger()

POLL_INTERVAL_S = 0.5
# Longer than the second for which the release of an export or a mail is retried.
RELEASE_TIMEOUT_S = 1.5


async def main(settings: Settings) -> None:
    """Work until the first SIGTERM or SIGINT; a second one exits at once.

    After the first, running exports have ``shutdown_timeout_s`` to end before they are released.
    If anything hangs then, the process exits a moment later: their leases expire instead.
    """
    stopping = asyncio.Event()
    flush_s = FLUSH_S if settings.otel_exporter_otlp_endpoint else 0
    _listen_for_signals(
        stopping, settings.shutdown_timeout_s + POLL_INTERVAL_S + RELEASE_TIMEOUT_S + flush_s
    )
    # The group within the resources: it waits for its tasks before their pools are closed.
    async with open_resources(settings) as resources, asyncio.TaskGroup() as group:
        worker = f"{socket.gethostname()}:{os.getpid()}"
        executor = _build_executor(resources, group, worker)
        # Two containers may have one host name and the same process id.
        fleet = FleetTasks(resources.database, f"{worker}:{token_hex(4)}", settings.lease_s)
        webhooks = WebhookDispatcher(
            resources.database, resources.webhooks, settings, group, resources.metrics
        )
        done = partial(record_run, resources.metrics, resources.metrics.worker_heartbeat())
        loops = [
            group.create_task(
                run_forever(
                    "queue consumer", QueueConsumer(settings, executor).consume, resources.metrics
                )
            ),
            *(
                group.create_task(run_periodically(task, done))
                for task in maintenance_tasks(resources, executor, webhooks, fleet)
            ),
        ]
        if settings.worker_metrics_port is not None:
            health = partial(serve_health, resources, settings.worker_metrics_port)
            loops.append(group.create_task(run_forever("health server", health, resources.metrics)))
        log.info("worker started", pid=os.getpid())
        await stopping.wait()
        # The loops first, so that nothing new is claimed; then what runs gets its grace.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_INTERVAL_S):
                await cancel_and_wait(*loops)
        await asyncio.gather(
            executor.close(settings.shutdown_timeout_s), webhooks.close(settings.shutdown_timeout_s)
        )
        await cancel_and_wait(*loops)
    log.info("worker stopped", pid=os.getpid())


def _listen_for_signals(stopping: asyncio.Event, limit_s: float) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)  # the second signal: leases expire, nothing is lost
        stopping.set()
        # The last resort, for something that hangs in a thread or ignores its cancellation.
        loop.call_later(limit_s, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _build_executor(resources: Resources, group: asyncio.TaskGroup, worker: str) -> ExportExecutor:
    gate = YieldGate()
    exporter = Exporter(
        resources.database,
        resources.audience_database,
        resources.storage,
        resources.queue,
        resources.export_events,
        resources.settings,
        worker=worker,
        metrics=resources.metrics,
        tracer=resources.tracer,
        gate=gate,
    )
    return ExportExecutor(
        exporter,
        build_outbox(resources),
        ExecutionSlots(resources.settings),
        group,
        resources.metrics,
        gate,
    )


def run() -> None:
    """Start the loop; invalid settings end it with a sentence and exit code 2."""
    settings = settings_from_environment()
    configure_logs(settings.log_format, settings.log_level)
    try:
        uvloop.run(main(settings))
    except SettingsInvalid as error:
        sys.exit(f"audience-export worker: {error}")


if __name__ == "__main__":
    run()
