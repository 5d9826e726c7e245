"""Runs the product's own coroutines one operation at a time, in an order that a test chooses.

An operation is what a process does outside itself: a statement, a transaction, an object stored or
deleted, a message sent. Each waits until the test releases it with an outcome. In between, other
processes do theirs; a process that is never released again is frozen.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any, Literal

import asyncpg

from app.checksums import Crc32c
from app.database.database import Database, DatabaseConnection, Isolation
from app.errors import (
    DatabaseUnavailable,
    MailDeferred,
    MailRefused,
    MailUnanswered,
    ServiceError,
    StorageRefused,
    StorageUnavailable,
)
from app.file_headers import DEFAULT_NAME
from app.ports import BeforeContent, Bytes, no_check
from tests.fakes import MemoryMailer, MemoryStorage

Outcome = Literal["succeeds", "fails", "is lost", "is refused"]
"""``is lost``: it is done, and its answer does not arrive. Where a port has no permanent refusal,
``is refused`` fails like an outage."""

QUIET_TURNS = 25
"""Turns of the event loop without a statement under way after which every task waits: no chain of
callbacks in the product is that long."""

HEARTBEAT = "_renew_until_cancelled"


class Killed(BaseException):
    """The process is gone: nothing that it would have done next happens."""


@dataclass(eq=False)
class Operation:
    """Something that a process is about to do outside itself."""

    kind: str
    is_heartbeat: bool
    outcome: "asyncio.Future[Outcome]"


@dataclass(eq=False)
class Process:
    """A running part of the product: a call of the API, or a worker with one periodic task.

    ``waiting`` has the operations that it is about to do, those of heartbeats last; ``refused`` the
    ``Message-ID`` of mails that the mail server refused.
    """

    name: str
    waiting: list[Operation] = field(default_factory=list)
    is_killed: bool = False
    refused: set[str] = field(default_factory=set)
    task: "asyncio.Task[object]" = field(init=False)

    @property
    def is_running(self) -> bool:
        """Whether it has something left to do."""
        return not self.task.done()


CURRENT: ContextVar[Process | None] = ContextVar("CURRENT", default=None)
"""The process that a task belongs to; ``None`` is the test itself, which never waits."""


class Steps:
    """Starts processes and releases their operations."""

    def __init__(self) -> None:
        self.under_way = 0

    async def start(self, name: str, work: Coroutine[Any, Any, object]) -> Process:
        """Start a process and return it once it waits, or has ended."""
        process = Process(name)
        context = copy_context()
        context.run(CURRENT.set, process)
        process.task = asyncio.get_running_loop().create_task(work, context=context)
        # Retrieved, or asyncio logs it whenever it collects the task: if that is while Python
        # parses a module, formatting the traceback parses too, which 3.11 does not survive.
        process.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await self.settle()
        return process

    async def release(self, operation: Operation, outcome: Outcome) -> None:
        """Let an operation happen, and wait until its process waits again, or has ended."""
        operation.outcome.set_result(outcome)
        await self.settle()

    async def kill(self, process: Process) -> None:
        """End a process without any further operation."""
        process.is_killed = True
        for operation in process.waiting:
            if not operation.outcome.done():
                operation.outcome.set_exception(Killed())
        await self.settle()

    async def settle(self) -> None:
        """Wait until every task waits for the test."""
        quiet = 0
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            quiet = 0 if self.under_way else quiet + 1

    async def outcome(self, kind: str) -> Outcome:
        """Wait for the outcome of an operation that the current process is about to do.

        Raises:
            Killed: its process is gone.
        """
        process = CURRENT.get()
        if process is None:
            return "succeeds"
        if process.is_killed:
            raise Killed
        operation = Operation(kind, _is_heartbeat(), asyncio.Future())
        process.waiting.append(operation)
        process.waiting.sort(key=lambda each: each.is_heartbeat)
        try:
            return await operation.outcome
        finally:
            process.waiting.remove(operation)

    @asynccontextmanager
    async def operation(
        self,
        kind: str,
        unavailable: type[ServiceError],
        refused: type[ServiceError] | None = None,
    ) -> AsyncIterator[None]:
        """Do something once it is released, unless it fails.

        Raises:
            ServiceError: ``unavailable`` or ``refused``, as the test decided.
        """
        outcome = await self.outcome(kind)
        if outcome in ("fails", "is refused"):
            error = (outcome == "is refused" and refused) or unavailable
            raise error(f"{kind}: {outcome}")
        yield
        if outcome == "is lost":
            raise unavailable(f"{kind}: its answer was lost")

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Count as under way what the context does."""
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1


class CountedDatabase(Database):
    """A database whose statements happen at once; steps wait for their end."""

    steps: Steps

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[DatabaseConnection]:
        async with self.steps.busy(), super().connection() as connection:
            yield connection


class SteppedDatabase(CountedDatabase):
    """A database whose statements and transactions wait to be released."""

    async def fetch(self, sql: str, /, **values: Any) -> list[asyncpg.Record]:
        async with self.steps.operation("statement", DatabaseUnavailable):
            return await super().fetch(sql, **values)

    async def execute(self, sql: str, /, **values: Any) -> int:
        async with self.steps.operation("statement", DatabaseUnavailable):
            return await super().execute(sql, **values)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Isolation = "read_committed", readonly: bool = False
    ) -> AsyncIterator[DatabaseConnection]:
        async with (
            self.steps.operation("transaction", DatabaseUnavailable),
            super().transaction(isolation=isolation, readonly=readonly) as tx,
        ):
            yield tx


class SteppedStorage(MemoryStorage):
    """A bucket in memory in which storing and deleting wait to be released."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._steps = steps

    async def put(self, key: str, body: Bytes, file_name: str = DEFAULT_NAME) -> Crc32c:
        async with self._steps.operation("put", StorageUnavailable, StorageRefused):
            return await super().put(key, body, file_name)

    async def delete(self, key: str) -> None:
        async with self._steps.operation("delete", StorageUnavailable, StorageRefused):
            await super().delete(key)


class SteppedMailer(MemoryMailer):
    """A mail server in memory: the dialogue before the content, and the answer, are operations.

    The content leaves together with the statement that allows it.
    """

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._steps = steps

    async def send(self, message: EmailMessage, before_content: BeforeContent = no_check) -> None:
        outcome, process = await self._steps.outcome("send"), CURRENT.get()
        if outcome == "is refused" and process is not None:
            process.refused.add(message["Message-ID"])
            raise MailRefused("The recipient is refused.")
        if outcome != "succeeds":
            raise MailDeferred("The mail server is unavailable.")
        await super().send(message, before_content)
        if await self._steps.outcome("answer") != "succeeds":
            raise MailUnanswered("The mail server did not reply.")


def _is_heartbeat() -> bool:
    task = asyncio.current_task()
    return task is not None and HEARTBEAT in getattr(task.get_coro(), "__qualname__", "")
