"""The work floor: exports and mails in a task group of our own.

arq cancels its jobs when Redis goes away; an export must not lose an attempt
for that, so jobs only wait here for work that goes on without them.
"""

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID

import structlog

from app.errors import ServiceError
from app.exports.exporter import Exporter
from app.exports.journal import names
from app.exports.outbox import Outbox
from app.models import Export

log = structlog.get_logger()

MAILS_AT_ONCE = 8


class Floor:
    """Runs up to ``places`` exports at once, and the mails that are due."""

    def __init__(
        self, exporter: Exporter, outbox: Outbox, places: int, group: asyncio.TaskGroup
    ) -> None:
        self._exporter = exporter
        self._outbox = outbox
        self._places = asyncio.Semaphore(places)
        self._group = group
        self._exports: dict[UUID, asyncio.Task[None]] = {}
        self._waiting: set[UUID] = set()
        self._mails: set[asyncio.Task[None]] = set()

    async def run(self, seller_id: int, export_id: UUID) -> None:
        """Run an export if it waits, and return at its end.

        Cancelling the caller leaves the export running. A second call for an
        export that is here already waits for the same run.
        """
        task = self._exports.get(export_id)
        if task is None:
            task = self._group.create_task(self._run(seller_id, export_id))
            self._exports[export_id] = task
            self._waiting.add(export_id)
            task.add_done_callback(lambda _: self._forget(export_id))
        await asyncio.shield(task)

    async def send_due_mails(self) -> None:
        """Begin to send mails that are due, as many as there is room for.

        None is claimed that would have to wait here while its lease runs.

        Raises:
            DatabaseUnavailable: try again.
        """
        room = MAILS_AT_ONCE - len(self._mails)
        if room <= 0:
            return
        claimed_at = time.monotonic()
        for export in await self._outbox.claim_due(room):
            task = self._group.create_task(self._mail(export, claimed_at))
            self._mails.add(task)
            task.add_done_callback(self._mails.discard)

    async def close(self, grace_s: float) -> None:
        """Stop within ``grace_s`` and a moment.

        What waits for a place is left to other workers at once. Exports that
        run and mails under way may end; later exports are given back.
        """
        for export_id in self._waiting:
            self._exports[export_id].cancel()
        under_way = {*self._exports.values(), *self._mails}
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _forget(self, export_id: UUID) -> None:
        del self._exports[export_id]
        self._waiting.discard(export_id)

    async def _run(self, seller_id: int, export_id: UUID) -> None:
        try:
            async with self._places:
                self._waiting.discard(export_id)
                asked_at = datetime.now(UTC)
                export = await self._exporter.claim(seller_id, export_id)
                ended = await self._exporter.run(export, asked_at) if export is not None else None
            if ended is not None and ended.email_status == "pending":
                await self.send_due_mails()
        except ServiceError as error:
            known_as = {"export_id": str(export_id), "seller_id": seller_id}
            log.warning("export left to the sweep", **known_as, error=error.code)

    async def _mail(self, export: Export, claimed_at: float) -> None:
        try:
            await self._outbox.send(export, claimed_at)
        except ServiceError as error:
            log.warning("mail left for later", **names(export), error=error.code)
