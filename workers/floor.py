"""The work floor: exports and mails in a task group of our own.

arq cancels its jobs when Redis goes away; an export must not lose an attempt
for that, so jobs only wait here for work that goes on without them.
"""

import asyncio
from uuid import UUID

import structlog

from app.errors import ServiceError
from app.exports.exporter import Exporter
from app.exports.outbox import Outbox
from app.models import Export

log = structlog.get_logger()

MAILS_AT_ONCE = 8


class Floor:
    """Runs up to ``places`` exports at once, and the mails that follow them."""

    def __init__(
        self, exporter: Exporter, outbox: Outbox, places: int, group: asyncio.TaskGroup
    ) -> None:
        self._exporter = exporter
        self._outbox = outbox
        self._places = asyncio.Semaphore(places)
        self._mail_places = asyncio.Semaphore(MAILS_AT_ONCE)
        self._group = group
        self._exports: dict[UUID, asyncio.Task[None]] = {}

    async def run(self, seller_id: int, export_id: UUID) -> None:
        """Run an export if it waits, and return at its end.

        Cancelling the caller leaves the export running. A second call for an
        export that is here already waits for the same run.
        """
        task = self._exports.get(export_id)
        if task is None:
            task = self._group.create_task(self._run(seller_id, export_id))
            self._exports[export_id] = task
            task.add_done_callback(lambda _: self._exports.pop(export_id, None))
        await asyncio.shield(task)

    def mail(self, export: Export) -> None:
        """Send the mail of an export, which this process holds, soon."""
        self._group.create_task(self._mail(export))

    async def hand_back(self, grace_s: float) -> None:
        """Let running exports end within ``grace_s``, then give the rest back."""
        tasks = set(self._exports.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, seller_id: int, export_id: UUID) -> None:
        async with self._places:
            try:
                export = await self._exporter.claim(seller_id, export_id)
                ended = await self._exporter.run(export) if export is not None else None
            except ServiceError as error:
                log.warning("export left to the sweep", export_id=str(export_id), error=error.code)
                return
        if ended is not None and ended.email_status == "pending":
            self.mail(ended)

    async def _mail(self, export: Export) -> None:
        async with self._mail_places:
            try:
                await self._outbox.send(export)
            except ServiceError as error:
                log.warning("mail left for later", export_id=str(export.id), error=error.code)
