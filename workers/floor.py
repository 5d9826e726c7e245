"""The work floor: exports and mails in a task group of our own.

arq cancels its jobs when Redis goes away; an export must not lose an attempt
for that, so jobs only wait here for work that goes on without them.
"""

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID

import structlog

from app.config import Settings
from app.errors import ServiceError
from app.exports.exporter import Exporter, MailHold
from app.exports.journal import names
from app.exports.lanes import lane_places
from app.exports.outbox import Outbox
from app.models import Export
from app.ports import Lane

log = structlog.get_logger()

MAILS_AT_ONCE = 8


class Places:
    """How many exports of each lane run here at once."""

    def __init__(self, settings: Settings) -> None:
        counts = lane_places(settings)
        if settings.worker_concurrency == 1:
            only = asyncio.Semaphore(1)
            self._free = dict.fromkeys(counts, only)
        else:
            self._free = {lane: asyncio.Semaphore(count) for lane, count in counts.items()}

    def of(self, lane: Lane) -> asyncio.Semaphore:
        """Return the places of a lane; whoever came first gets the next."""
        return self._free[lane]


class Floor:
    """Runs exports in the ``places`` of their lanes, and sends the mails that are due."""

    def __init__(
        self, exporter: Exporter, outbox: Outbox, places: Places, group: asyncio.TaskGroup
    ) -> None:
        self._exporter = exporter
        self._outbox = outbox
        self._places = places
        self._group = group
        self._exports: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()
        self._mails: set[asyncio.Task[None]] = set()

    async def run(self, lane: Lane, seller_id: int, export_id: UUID) -> None:
        """Run one export of a lane, if any waits, and return at its end.

        It is the one whose turn it is: a bell for any is a bell for all. The
        one that the bell was for is looked at by itself where no other is
        found, since a request that joins it may have locked it for a moment.
        Cancelling the caller leaves the export running.
        """
        task = self._group.create_task(self._run(lane, seller_id, export_id))
        for tasks in (self._exports, self._waiting):
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.shield(task)

    async def send_due_mails(self) -> None:
        """Begin to send mails that are due, as many as there is room for.

        None is claimed that would have to wait here while its lease runs.

        Raises:
            DatabaseUnavailable: try again.
        """
        if self._room_for_mails > 0:
            claimed_at = time.monotonic()
            for export in await self._outbox.claim_due(self._room_for_mails):
                self._begin_mail(export, claimed_at)

    async def close(self, grace_s: float) -> None:
        """Stop within ``grace_s`` and a moment.

        What waits for a place is left to other workers at once. Exports that
        run and mails under way may end; later exports are given back.
        """
        for task in self._waiting:
            task.cancel()
        under_way = self._exports | self._mails
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def _room_for_mails(self) -> int:
        return MAILS_AT_ONCE - len(self._mails)

    async def _run(self, lane: Lane, seller_id: int, export_id: UUID) -> None:
        try:
            async with self._places.of(lane):
                self._waiting.remove(asyncio.current_task())  # type: ignore[arg-type]  # we are one
                hold = MailHold() if self._room_for_mails > 0 else None
                ended = await self._run_next(lane, seller_id, export_id, hold)
        except ServiceError as error:
            known_as = {"export_id": str(export_id), "seller_id": seller_id}
            log.warning("export left to the sweep", **known_as, error=error.code)
            return
        if ended is not None and ended.email_status == "pending":
            await self._send_mail_of(ended, hold)

    async def _run_next(
        self, lane: Lane, seller_id: int, export_id: UUID, hold: MailHold | None
    ) -> Export | None:
        asked_at = datetime.now(UTC)
        export = await self._exporter.claim_next(lane)
        if export is None:
            export = await self._exporter.claim(seller_id, export_id)
        if export is None:
            return None
        return await self._exporter.run(export, asked_at, hold)

    async def _send_mail_of(self, ended: Export, hold: MailHold | None) -> None:
        """Send the mail that the export's end has left to us; else, those that are due."""
        is_ours = ended.status == "succeeded" and ended.email_attempts == 1
        if is_ours and hold is not None and hold.since is not None:
            self._begin_mail(ended, hold.since)
            return
        try:
            await self.send_due_mails()
        except ServiceError as error:
            log.warning("mail left for later", **names(ended), error=error.code)

    def _begin_mail(self, export: Export, claimed_at: float) -> None:
        task = self._group.create_task(self._mail(export, claimed_at))
        self._mails.add(task)
        task.add_done_callback(self._mails.discard)

    async def _mail(self, export: Export, claimed_at: float) -> None:
        try:
            await self._outbox.send(export, claimed_at)
        except ServiceError as error:
            log.warning("mail left for later", **names(export), error=error.code)
