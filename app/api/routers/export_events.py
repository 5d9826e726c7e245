"""``GET /exports/{id}/events``: the progress and the end of an export as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Self, cast

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response, StreamingResponse

from app.api.dependencies import AuditContextDep, ExportId, Reader, ResourcesDep, ShutdownDep
from app.api.openapi import Responses, error_responses
from app.api.responses import export_json
from app.api.route_classes import AuthenticatedRoute
from app.api.schemas.exports import ExportState
from app.api.shutdown import ShutdownSignal
from app.errors import (
    DatabaseUnavailable,
    ExportNotFound,
    InsufficientScope,
    RequestInvalid,
    TemporaryError,
    TokenInvalid,
)
from app.exports.audit import AuditContext
from app.exports.batch_loader import ExportLoader
from app.exports.queries import find_export, wait_for_change
from app.models import Export
from app.resources import Resources

EVENT_INTERVAL_S = 0.25
"""The minimum time between two events of one stream."""

REREAD_S = 2.0
"""Read the row again after this time without a notification, since those may be lost."""

# Well above REREAD_S: a heartbeat is only sent after a read of the row.
HEARTBEAT_S = 10.0
"""Send a comment after this time without an event, so that no proxy closes the stream."""

LIFETIME_S = 300.0
"""End the stream after this time: to reconnect, a client needs a token that is still valid."""

RETRY_MS = 1000
HEARTBEAT = b": still here\n\n"

STREAM_HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "Referrer-Policy": "no-referrer",
    "X-Accel-Buffering": "no",
}
"""Keep caches and proxies from buffering events (the last header is nginx's)."""

STREAM: Responses = {
    200: {
        "description": "Events `progress` and finally `finished`, each with the export as JSON",
        "content": {"text/event-stream": {}},
    },
    204: {"description": "`Last-Event-ID` is the last event of an ended export: do not reconnect"},
}

router = APIRouter(route_class=AuthenticatedRoute, tags=["exports"])


async def export_loader(request: Request) -> ExportLoader:
    """Return the loader that all streams of this process share."""
    return cast(ExportLoader, request.app.state.readings)


@dataclass(frozen=True)
class Event:
    """One event. Equal states have equal ids, in every process."""

    id: str
    name: str
    state: dict[str, Any]

    @classmethod
    def of(cls, export: Export) -> Self:
        """Return the event for the export's state."""
        state = ExportState.of(export).model_dump(mode="json")
        digest = sha256(json.dumps(state).encode()).hexdigest()
        return cls(digest[:32], "progress" if export.is_active else "finished", state)


@router.get(
    "/exports/{id}/events",
    operation_id="stream_export_events",
    response_class=StreamingResponse,
    responses=STREAM
    | error_responses(
        TokenInvalid, InsufficientScope, ExportNotFound, RequestInvalid, DatabaseUnavailable
    ),
)
async def get_events(
    export_id: ExportId,
    principal: Reader,
    resources: ResourcesDep,
    shutdown: ShutdownDep,
    audit_context: AuditContextDep,
    loader: Annotated[ExportLoader, Depends(export_loader)],
    last_event_id: Annotated[
        str | None,
        Header(description="The id of the last event received: its state is not sent again."),
    ] = None,
) -> Response:
    """Stream the export's changes until it has ended.

    The stream may end earlier: then reconnect, with `Last-Event-ID`.
    """
    export = await find_export(resources.database, export_id, principal.seller_id)
    if not export.is_active and Event.of(export).id == last_event_id:
        return Response(status_code=204, headers=STREAM_HEADERS)
    stream = ExportEventStream(resources, loader, shutdown, export, audit_context, last_event_id)
    return StreamingResponse(
        stream.frames(), headers=STREAM_HEADERS, media_type="text/event-stream"
    )


class ExportEventStream:
    """The events of one export for one client."""

    def __init__(
        self,
        resources: Resources,
        loader: ExportLoader,
        shutdown: ShutdownSignal,
        export: Export,
        audit_context: AuditContext,
        last_event_id: str | None,
    ) -> None:
        self._resources = resources
        self._loader = loader
        self._shutdown = shutdown
        self._export = export
        self._audit_context = audit_context
        self._last_event_id = last_event_id
        self._sent: Export | None = None
        self._sent_at = time.monotonic()

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the stream until the export ends, or the stream has to."""
        ends_at = time.monotonic() + LIFETIME_S
        yield b"retry: %d\n\n" % RETRY_MS
        # Subscribed before the row is read: a change in between would not be notified of.
        async with self._resources.export_events.subscribe(self._export.id) as changes:
            while not self._shutdown.is_set and time.monotonic() < ends_at:
                try:
                    await self._read()
                except ExportNotFound:
                    return
                async for message in self._export_events():
                    yield message
                if not self._export.is_active:
                    return
                await self._shutdown.run_or_abort(
                    wait_for_change(changes, REREAD_S), otherwise=None
                )

    async def _read(self) -> None:
        """Read the row again; while the database is unavailable, keep the last state.

        Raises:
            ExportNotFound: the row has been deleted.
        """
        try:
            self._export = await self._loader.load(self._export.key)
        except TemporaryError:
            return

    async def _export_events(self) -> AsyncIterator[bytes]:
        """Yield the current state if the client does not have it, or a heartbeat when due."""
        if self._export != self._sent:
            event = Event.of(self._export)
            if event.id != self._last_event_id:
                try:
                    document = await export_json(self._resources, self._export, self._audit_context)
                except TemporaryError:  # no audit entry: sent in the next round
                    return
                # Before the yield: a client that reconnects in the middle has received it.
                self._last_event_id = event.id
                self._sent_at = time.monotonic()
                yield _message(event, document)
                await self._pause()
            self._sent = self._export
        elif time.monotonic() - self._sent_at > HEARTBEAT_S:
            self._sent_at = time.monotonic()
            yield HEARTBEAT

    async def _pause(self) -> None:
        """Wait so that changes are combined; not before the last event."""
        if self._export.is_active:
            await self._shutdown.run_or_abort(asyncio.sleep(EVENT_INTERVAL_S), otherwise=None)


def _message(event: Event, document: dict[str, Any]) -> bytes:
    data = json.dumps(document)
    return f"id: {event.id}\nevent: {event.name}\ndata: {data}\n\n".encode()
