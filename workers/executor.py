"""The executor: exports and mails in its own task group.

arq cancels its jobs when Redis becomes unavailable. An export must not lose an attempt for that,
so jobs only wait for tasks of this group.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import structlog

from app.config import Settings
from app.errors import ServiceError
from app.exports.delivery.outbox import Outbox
from app.exports.execution.exporter import Exporter, RunResult
from app.exports.execution.yield_gate import YieldGate
from app.exports.log_events import export_log_context
from app.exports.queue.lanes import slots_per_lane
from app.models import Export, ExportKey
from app.observability.metrics import Metrics
from app.observability.unexpected_errors import report_unexpected
from app.ports import Lane

log = structlog.get_logger()

MAX_CONCURRENT_MAILS = 8


class ExecutionSlots:
    """How many exports of each lane run here at once."""

    def __init__(self, settings: Settings) -> None:
        self._counts = slots_per_lane(settings)
        if settings.worker_concurrency == 1:
            # One object for both lanes: _busy counts by it, so that a slot is not promised twice.
            only = asyncio.Semaphore(1)
            self._free = dict.fromkeys(self._counts, only)
        else:
            self._free = {lane: asyncio.Semaphore(count) for lane, count in self._counts.items()}

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that this worker serves."""
        return tuple(self._counts)

    def slots(self, lane: Lane) -> asyncio.Semaphore:
        """Return the slots of a lane; first come, first served."""
        return self._free[lane]

    def count(self, lane: Lane) -> int:
        """Return how many slots a lane has."""
        return self._counts[lane]


class ExportExecutor:
    """Runs exports in the slots of their lanes, and sends the mails that are due."""

    def __init__(
        self,
        exporter: Exporter,
        outbox: Outbox,
        slots: ExecutionSlots,
        group: asyncio.TaskGroup,
        metrics: Metrics | None = None,
        gate: YieldGate | None = None,
    ) -> None:
        self._exporter = exporter
        self._gate = gate or YieldGate()
        self._outbox = outbox
        self._slots = slots
        self._group = group
        self._metrics = metrics or Metrics()
        self._exports: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()
        self._mails: set[asyncio.Task[None]] = set()
        self._busy: Counter[asyncio.Semaphore] = Counter()
        self._is_closing = False

    def room(self, lane: Lane) -> int:
        """Return how many exports of a lane would begin at once."""
        free = self._slots.count(lane) - self._busy[self._slots.slots(lane)]
        return 0 if self._is_closing else max(0, free)

    def free_lanes(self) -> list[Lane]:
        """Return the lanes in which an export would begin at once."""
        return [lane for lane in self._slots.lanes if self.room(lane)]

    async def run_waiting(self) -> None:
        """Begin to run what waits in PostgreSQL, in lanes that have a slot free.

        Raises:
            DatabaseUnavailable: try again.
        """
        if free := self.free_lanes():
            for lane in await self._exporter.waiting_lanes(free):
                self._begin_waiting(lane)

    async def run_next(self, lane: Lane, key: ExportKey) -> None:
        """Run one export of a lane, if any waits, and return at its end.

        It is the next in the lane's order, whichever export the job was for. ``key``, the
        job's own export, is tried by itself only where the lane has none: a request that
        joins it may have locked its row for a moment, and the claim skips locked rows.
        Cancelling the caller leaves the export running.
        """
        # Shielded: arq cancels its job when Redis is lost; the export needs no Redis to go on.
        await asyncio.shield(self._begin(lane, self._run(lane, key)))

    async def send_due_mails(self) -> None:
        """Begin to send mails that are due, as many as there is room for.

        None is claimed that would have to wait here while its lease runs.

        Raises:
            DatabaseUnavailable: try again.
        """
        if self._free_mail_slots > 0:
            # Before the claim is sent: the mail's lease must not end earlier than we count.
            claimed_at = time.monotonic()
            for export in await self._outbox.claim_due(self._free_mail_slots):
                self._begin_mail(export, claimed_at)

    async def close(self, grace_s: float) -> None:
        """Stop within ``grace_s`` seconds and a moment.

        What waits for a slot is left to other workers at once. Running exports and mails may
        finish within ``grace_s``; then exports are released and mails deferred.
        """
        # First: from here on room() is 0, so that neither a poll nor a job begins anything more.
        self._is_closing = True
        for task in self._waiting:
            task.cancel()
        under_way = self._exports | self._mails
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def _free_mail_slots(self) -> int:
        return MAX_CONCURRENT_MAILS - len(self._mails)

    def _begin(self, lane: Lane, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Begin work that has, or waits for, one slot of a lane."""
        task = self._group.create_task(work)
        # Counted at once, not when it has the slot: room() would promise the slot again.
        self._busy[self._slots.slots(lane)] += 1
        task.add_done_callback(lambda _: self._busy.subtract([self._slots.slots(lane)]))
        for tasks in (self._exports, self._waiting):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        return task

    def _begin_waiting(self, lane: Lane) -> None:
        self._begin(lane, self._run_all(lane))

    async def _run_all(self, lane: Lane) -> None:
        """Run what waits in a lane, one after the other, until nothing does."""
        while await self._run_one(lane, self._claim_waiting):
            pass

    async def _claim_waiting(self, lane: Lane) -> Export | None:
        """Take the next export of a lane, and have the one after it run beside it."""
        export = await self._exporter.claim_next(lane)
        if export is not None and self.room(lane):
            self._begin_waiting(lane)
        return export

    async def _run(self, lane: Lane, key: ExportKey) -> None:
        async def claim(lane: Lane) -> Export | None:
            export = await self._exporter.claim_next(lane)
            return export or await self._exporter.claim(key)

        await self._run_one(lane, claim, export_id=str(key.id), seller_id=key.seller_id)

    async def _run_one(
        self, lane: Lane, claim: Callable[[Lane], Awaitable[Export | None]], **fields: Any
    ) -> bool:
        """Run what is claimed once there is a slot; return whether there was something.

        No exception leaves: it would end the task group, and so the process. An export that was
        claimed runs again when its lease has expired. ``fields`` go into the log lines of errors.
        """
        try:
            async with self._slots.slots(lane):
                # Claimed only with a slot: a lease that waits here would expire.
                # Out of _waiting first: close() would cancel the claim, and if the server has
                # committed it, the export waits until its lease expires.
                self._waiting.discard(asyncio.current_task())
                # close() cancels what is in _waiting, where _run_all is for its first export only.
                if self._is_closing:
                    return False
                result = await self._claim_and_run(lane, claim)
                if result is None:
                    return False
        except ServiceError as error:
            log.warning("export left for recovery", lane=lane, **fields, error=error.code)
            return False
        except Exception:
            report_unexpected(self._metrics, "executor", lane=lane, **fields)
            return False
        # Outside the slot: the next export need not wait for the mail.
        await self._send_mail_of(result)
        return True

    async def _claim_and_run(
        self, lane: Lane, claim: Callable[[Lane], Awaitable[Export | None]]
    ) -> RunResult | None:
        """Run what is claimed; ``None`` where there was nothing.

        Large exports give way only to a small one that has a slot: one that waits for the slot of
        a large one would hold itself up.
        """
        with self._gate.small_export() if lane == "small" else nullcontext():
            claims_mail = self._free_mail_slots > 0
            claim_started_at = datetime.now(UTC)
            export = await claim(lane)
            if export is None:
                return None
            return await self._exporter.run(export, claim_started_at, claims_mail=claims_mail)

    async def _send_mail_of(self, result: RunResult) -> None:
        """Send the mail that an attempt has claimed; otherwise, the mails that are due."""
        ended = result.export
        if ended is None or ended.email_status != "pending":
            return
        if result.mail_claimed_at is not None:
            self._begin_mail(ended, result.mail_claimed_at)
            return
        await self._guarded(self.send_due_mails(), ended)

    def _begin_mail(self, export: Export, claimed_at: float) -> None:
        sending = self._guarded(self._outbox.send(export, claimed_at), export)
        task = self._group.create_task(sending)
        self._mails.add(task)
        task.add_done_callback(self._mails.discard)

    async def _guarded(self, work: Awaitable[None], export: Export) -> None:
        """Wait for work on mails; an exception would end the task group, and so the process.

        The log context is opened afterwards: tasks begun by ``work`` would inherit it, and with it
        another export's request.
        """
        try:
            await work
        except ServiceError as error:
            with export_log_context(export):
                log.warning("mail deferred", error=error.code)
        except Exception:
            with export_log_context(export):
                report_unexpected(self._metrics, "outbox")
