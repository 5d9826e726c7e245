"""The heartbeat: renews the lease of a running attempt, once a second."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.concurrency import cancel_and_wait, unwrap_exception_group
from app.config import Settings
from app.errors import StreamStalled, TemporaryError
from app.exports.execution.pipeline import Progress
from app.exports.notifications import publish_change
from app.exports.queue.leases import LeaseStore
from app.models import Export
from app.ports import ExportEvents


class Heartbeat:
    """Renews leases and records progress; ends an attempt that stalls or has lost its lease."""

    def __init__(self, export_events: ExportEvents, settings: Settings, leases: LeaseStore) -> None:
        self._export_events = export_events
        self._settings = settings
        self._leases = leases

    @asynccontextmanager
    async def running(self, export: Export, progress: Progress) -> AsyncIterator[None]:
        """Renew the lease of ``export`` while the context is open.

        The task group cancels the body when the heartbeat ends it.

        Raises:
            LeaseLost: the export is no longer this attempt's.
            TemporaryError: the database was unavailable for as long as a lease lasts.
            StreamStalled: no data moved, and no range ended, for ``stall_timeout_s``.
        """
        async with unwrap_exception_group(), asyncio.TaskGroup() as group:
            heartbeat = group.create_task(self._renew_until_cancelled(export, progress))
            try:
                yield
            finally:
                # Before the caller records the end: a late renewal would find no lease.
                await cancel_and_wait(heartbeat)

    async def _renew_until_cancelled(self, export: Export, progress: Progress) -> None:
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            try:
                await self._leases.renew(export, progress.rows, progress.snapshot_at)
                renewed_at = time.monotonic()
                await publish_change(self._export_events, export)
            except TemporaryError:
                # Keep trying: no other worker can claim the export before the lease expires.
                if time.monotonic() - renewed_at > self._settings.lease_s:
                    raise
            # Outside the `try`: StreamStalled is a TemporaryError, which would be ignored there.
            self._check_progress(progress)

    def _check_progress(self, progress: Progress) -> None:
        limit_s = self._settings.stall_timeout_s
        if time.monotonic() - progress.moved_at > limit_s:
            raise StreamStalled(f"No data moved for {limit_s:.0f} seconds.")
