"""The exporter: runs one attempt, from the claim to the recorded end."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from app.audience.merge import Merge
from app.audience.replica import ReplayTarget
from app.config import Settings
from app.database.database import Database
from app.errors import (
    LeaseLost,
    ReadConflict,
    ReplicaLagging,
    ServiceError,
    Unexpected,
)
from app.exports.execution.completion import Completion
from app.exports.execution.heartbeat import Heartbeat
from app.exports.execution.pipeline import (
    ByteSink,
    CopyJob,
    Progress,
    open_multipart_upload,
    stream_export,
)
from app.exports.execution.stream_growth import stream_limits
from app.exports.execution.yield_gate import YieldGate
from app.exports.log_events import export_log_context, log_transition
from app.exports.notifications import publish_change
from app.exports.object_keys import object_key, session_name
from app.exports.queue.leases import ExportedFile, LeaseStore
from app.file_headers import DEFAULT_NAME
from app.models import Export, ExportKey
from app.observability.metrics import Metrics
from app.observability.tracing import NO_ATTRIBUTES, NOOP_TRACER, Span, SpanAttributes, Tracer
from app.ports import ExportEvents, ExportQueue, Lane, ObjectStorage

log = structlog.get_logger()


MAX_REPLICA_ATTEMPTS = 3
"""After this many attempts, read from the primary if the standby cancels reads or lags behind."""

REPLICA_ERRORS = (ReadConflict.code, ReplicaLagging.code)


@dataclass(frozen=True)
class RunResult:
    """How an attempt ended.

    ``export`` is the row after it: ``None`` where the lease was lost or the end could not be
    recorded. ``mail_claimed_at`` is set where this process has the lease of the mail and is to
    send it now: monotonic seconds, no later than the lease began.
    """

    export: Export | None
    mail_claimed_at: float | None = None


class Exporter:
    """Runs attempts: claims an export, writes its file, records the end.

    ``worker`` names this process for operators, in the row. At ``gate`` its large exports give way.
    """

    def __init__(
        self,
        database: Database,
        audience_database: Database,
        storage: ObjectStorage,
        queue: ExportQueue,
        export_events: ExportEvents,
        settings: Settings,
        worker: str,
        metrics: Metrics | None = None,
        tracer: Tracer = NOOP_TRACER,
        gate: YieldGate | None = None,
    ) -> None:
        self._database = database
        self._gate = gate
        self._audience_database = audience_database
        self._storage = storage
        self._export_events = export_events
        self._settings = settings
        self._tracer = tracer
        self._leases = LeaseStore(database, settings, worker)
        self._metrics = metrics or Metrics()
        self._heartbeat = Heartbeat(export_events, settings, self._leases)
        self._completion = Completion(
            queue, export_events, settings, tracer, self._leases, self._metrics
        )

    async def claim(self, key: ExportKey) -> Export | None:
        """Claim an export for this worker; ``None`` where it is not queued and due.

        Raises:
            DatabaseUnavailable: whether it was claimed is unknown; if so, its
                lease expires.
        """
        export = await self._leases.claim(key)
        if export is not None:
            await self._announce_claim(export)
        return export

    async def claim_next(self, lane: Lane) -> Export | None:
        """Claim the next export of a lane; see :meth:`claim`."""
        export = await self._leases.claim_next(lane)
        if export is not None:
            await self._announce_claim(export)
        return export

    async def waiting_lanes(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Return those of ``lanes`` in which an export is queued and due."""
        return await self._leases.waiting_lanes(lanes)

    async def _announce_claim(self, export: Export) -> None:
        with export_log_context(export):
            log_transition("export claimed", export)
            await publish_change(self._export_events, export)

    async def run(
        self,
        export: Export,
        claim_started_at: datetime | None = None,
        *,
        claims_mail: bool = False,
    ) -> RunResult:
        """Write the file of a claimed export, and record how that ended.

        Cancelled, it releases the export. An attempt that did not succeed is noted in the row,
        whose ``uncleaned_attempts`` recovery cleans up after.

        Args:
            export: the row as it was claimed.
            claim_started_at: when the claim was sent, for the trace.
            claims_mail: whether the caller sends the mail of a success at once; others
                wait for ``mail_lease_s`` then.
        """
        with (
            export_log_context(export),
            self._traced(export, claim_started_at or datetime.now(UTC)) as span,
        ):
            try:
                result = await self._run(export, claims_mail=claims_mail)
            except asyncio.CancelledError:
                # Shielded: a second cancellation must not leave the export to its lease.
                await asyncio.shield(self._completion.release(export))
                raise
            span.set_attributes(_result_attributes(result.export))
        return result

    @contextmanager
    def _traced(self, export: Export, claim_started_at: datetime) -> Iterator[Span]:
        """Trace an attempt: a span that begins when the export was due, with two parts so far."""
        claimed_at, begun_at = datetime.now(UTC), min(export.due_at, claim_started_at)
        attributes = _attempt_attributes(export)
        with self._tracer.start_span(
            "export", export.traceparent, attributes, kind="consumer", started_at=begun_at
        ) as span:
            self._tracer.record_span("queue", begun_at, claim_started_at)
            self._tracer.record_span("claim", claim_started_at, claimed_at)
            yield span

    async def _run(self, export: Export, *, claims_mail: bool) -> RunResult:
        try:
            file = await self._write(export)
        # Before ServiceError, its base: losing the lease is no failure of the export.
        except LeaseLost:
            return RunResult(await self._completion.mark_for_cleanup(export))
        except ServiceError as error:
            log.warning("attempt failed", error=error.code, reason=str(error))
            return RunResult(await self._completion.fail(export, error))
        except Exception as error:
            log.exception("attempt crashed")
            unexpected = Unexpected(f"Something broke: {type(error).__name__}.")
            return RunResult(await self._completion.fail(export, unexpected))
        # Before the statement that begins the mail's lease, so that its end is not put too late.
        claimed_at = time.monotonic()
        ended = await self._completion.succeed(export, file, claims_mail=claims_mail)
        return RunResult(ended, claimed_at if claims_mail and _has_first_mail(ended) else None)

    async def _write(self, export: Export) -> ExportedFile:
        progress = Progress()
        key = object_key(self._settings.s3_prefix, export.attempt_key, export.format)
        async with (
            # The outer one: the lease is renewed until the upload is completed or aborted.
            self._heartbeat.running(export, progress),
            open_multipart_upload(
                self._storage,
                key,
                self._settings,
                progress,
                export.rows_estimated,
                # A function: the snapshot, whose date is in the name, is not taken yet.
                lambda: file_name(export, progress.snapshot_at),
            ) as sink,
        ):
            with self._tracer.start_child_span("copy"):
                snapshot_at = await stream_export(self._copy_job(export, sink, progress))
            with self._tracer.start_child_span("complete"):
                await sink.finish()
        name = file_name(export, snapshot_at)
        return ExportedFile(
            key,
            name,
            progress.rows,
            progress.bytes,
            snapshot_at,
            sink.checksum.label,
            progress.refused_addresses,
        )

    def _copy_job(self, export: Export, sink: ByteSink, progress: Progress) -> CopyJob:
        return CopyJob(
            database=self._source(export),
            session_name=session_name(export.attempt_key),
            merge=Merge(export.seller_id, tuple(export.sources), export.options),
            sink=sink,
            progress=progress,
            streams=stream_limits(self._settings, export.lane),
            timeout_s=self._settings.export_timeout_s,
            replay_target=self._replay_target(export),
            # A small export would wait there for itself: the gate is closed while it runs.
            gate=self._gate if export.lane == "large" else None,
        )

    def _source(self, export: Export) -> Database:
        """Return where to read: the primary once a standby has failed this export too often."""
        # The error of the attempt before this one: a claim leaves it in the row.
        is_busy = export.error_code in REPLICA_ERRORS and export.attempt > MAX_REPLICA_ATTEMPTS
        return self._database if is_busy else self._audience_database

    def _replay_target(self, export: Export) -> ReplayTarget | None:
        """Return what a standby must have replayed; ``None`` where reads go to the primary."""
        if self._settings.audience_database_url is None:
            return None
        return ReplayTarget(export.created_at, export.required_lsn, self._settings.replica_wait_s)


def file_name(export: Export, snapshot_at: datetime | None) -> str:
    """Return the name a browser saves the file under."""
    if snapshot_at is None:
        return DEFAULT_NAME
    return f"audience-{export.seller_id}-{snapshot_at:%Y-%m-%d}.{export.format}"


def _has_first_mail(ended: Export | None) -> bool:
    """Return whether nobody has claimed the mail since the success did."""
    return ended is not None and ended.status == "succeeded" and ended.email_attempts == 1


def _attempt_attributes(export: Export) -> SpanAttributes:
    """Return the span's attributes that identify an attempt."""
    return {
        "export.id": str(export.id),
        "export.attempt": export.attempt,
        "seller.id": export.seller_id,
    }


def _result_attributes(ended: Export | None) -> SpanAttributes:
    """Return the span's attributes of an attempt's end."""
    if ended is None:
        return {"export.status": "lost"}
    size = (
        {"export.rows": ended.file_rows, "export.bytes": ended.file_bytes}
        if ended.file_rows is not None and ended.file_bytes is not None
        else NO_ATTRIBUTES
    )
    return {"export.status": ended.status, **size}
