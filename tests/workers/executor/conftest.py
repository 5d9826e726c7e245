"""An executor with a bucket and a mail server in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from app.config import Settings
from app.database.database import Database
from app.exports.delivery.links import LinkSigner
from app.exports.delivery.outbox import Outbox
from app.exports.execution.exporter import Exporter
from app.exports.execution.yield_gate import YieldGate
from app.models import Export
from app.observability.metrics import Metrics
from tests.fakes import MemoryExportEvents, MemoryMailer, MemoryQueue, MemoryStorage, nothing
from tests.polling import until
from workers.executor import ExecutionSlots, ExportExecutor

Start = Callable[[Export], "asyncio.Task[None]"]


@pytest.fixture
def storage() -> MemoryStorage:
    """A bucket in memory."""
    return MemoryStorage()


@pytest.fixture
def mailer() -> MemoryMailer:
    """A mail server in memory."""
    return MemoryMailer()


@pytest.fixture
def outbox(
    database: Database, mailer: MemoryMailer, storage: MemoryStorage, settings: Settings
) -> Outbox:
    """The worker's outbox."""
    links = LinkSigner(settings.link_secrets, settings.public_url)
    return Outbox(database, mailer, storage, links, settings)


@pytest.fixture
async def executor(
    database: Database,
    storage: MemoryStorage,
    outbox: Outbox,
    settings: Settings,
    metrics: Metrics,
    yields: YieldGate,
) -> AsyncIterator[ExportExecutor]:
    """An executor with two slots for small exports and one for large ones."""
    exporter = Exporter(
        database, database, storage, MemoryQueue(), MemoryExportEvents(), settings, worker="tests"
    )
    async with asyncio.TaskGroup() as group:
        slots = ExecutionSlots(settings.model_copy(update={"worker_concurrency": 3}))
        executor = ExportExecutor(exporter, outbox, slots, group, metrics, yields)
        yield executor
        storage.before = nothing
        await executor.close(0)


@pytest.fixture
def yields() -> YieldGate:
    """Where large exports give way to small ones."""
    return YieldGate()


@pytest.fixture
def metrics() -> Metrics:
    """What the executor counts."""
    return Metrics()


@pytest.fixture
def start(executor: ExportExecutor) -> Start:
    """Begin to run an export, as arq's job does."""

    def start(export: Export) -> "asyncio.Task[None]":
        return asyncio.create_task(executor.run_next("small", export.key))

    return start


def unexpected(metrics: Metrics, component: str) -> float | None:
    """Return how many unexpected errors of a component were counted."""
    name = "audience_export_unexpected_errors_total"
    return metrics.registry.get_sample_value(name, {"component": component})


class Gate:
    """A store that lets nothing pass before it opens."""

    def __init__(self) -> None:
        self.waiting = 0
        self.open = asyncio.Event()

    async def __call__(self, method: str) -> None:
        if method == "put":
            self.waiting += 1
            await self.open.wait()

    async def until_waiting(self, count: int) -> None:
        """Wait until this many wait."""

        async def is_so() -> bool:
            return self.waiting == count

        await until(is_so)


@pytest.fixture
def gate(storage: MemoryStorage) -> Gate:
    """A gate before the store."""
    gate = Gate()
    storage.before = gate
    return gate
