"""Server-sent events: an export's progress as it happens, and its end."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Self, cast

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response, StreamingResponse

from app.api.answers import export_document
from app.api.dependencies import Ending, ExportId, Opened, Reader
from app.api.documentation import Responses, documented
from app.api.routes import GuardedRoute
from app.api.schemas import ExportState
from app.api.shutdown import Shutdown
from app.errors import (
    DatabaseUnavailable,
    ExportNotFound,
    RequestInvalid,
    ScopeMissing,
    TemporaryError,
    TokenInvalid,
)
from app.exports.queries import find_export, next_or_timeout
from app.exports.readings import Readings
from app.models import Export
from app.resources import Resources

PROGRESS_S = 0.25
"""The least time between two events of one stream."""

REREAD_S = 2.0
"""How long a stream trusts the silence of the news, which may be lost."""

HEARTBEAT_S = 10.0
"""The most time without a byte, so that nothing on the way takes the stream for dead."""

LIFETIME_S = 300.0
"""When a stream ends anyway: whoever goes on listening shows a token that is still good."""

RETRY_MS = 1000
HEARTBEAT = b": still here\n\n"

HEADERS = {
    "Cache-Control": "no-store, no-transform",
    "Referrer-Policy": "no-referrer",
    "X-Accel-Buffering": "no",
}
"""No cache and no proxy (nginx reads the last one) may hold events back."""

STREAM: Responses = {
    200: {
        "description": "Events `progress` and, at last, `finished`, each the export as JSON",
        "content": {"text/event-stream": {}},
    },
    204: {"description": "`Last-Event-ID` is the last event there was: do not come again"},
}

router = APIRouter(route_class=GuardedRoute, tags=["exports"])


async def readings(request: Request) -> Readings:
    """Return the readings of this process."""
    return cast(Readings, request.app.state.readings)


@dataclass(frozen=True)
class Event:
    """What to tell of an export; equal states have equal ids, in every process."""

    id: str
    name: str
    state: dict[str, Any]

    @classmethod
    def of(cls, export: Export) -> Self:
        """Return the event that tells the export's state."""
        state = ExportState.of(export).model_dump(mode="json")
        digest = sha256(json.dumps(state).encode()).hexdigest()
        return cls(digest[:32], "progress" if export.is_active else "finished", state)


@router.get(
    "/exports/{id}/events",
    response_class=StreamingResponse,
    responses=STREAM
    | documented(TokenInvalid, ScopeMissing, ExportNotFound, RequestInvalid, DatabaseUnavailable),
)
async def get_events(
    export_id: ExportId,
    caller: Reader,
    opened: Opened,
    ending: Ending,
    reading: Annotated[Readings, Depends(readings)],
    last_event_id: Annotated[
        str | None, Header(description="The last event seen: what it told is not told again.")
    ] = None,
) -> Response:
    """Follow an export until it has ended.

    The stream may end earlier: then come again, with `Last-Event-ID`.
    """
    export = await find_export(opened.engine, export_id, caller.seller_id)
    if not export.is_active and Event.of(export).id == last_event_id:
        return Response(status_code=204, headers=HEADERS)
    stream = Stream(opened, reading, ending, export, last_event_id)
    return StreamingResponse(stream.messages(), headers=HEADERS, media_type="text/event-stream")


class Stream:
    """The events of one export for one listener."""

    def __init__(
        self,
        opened: Resources,
        readings: Readings,
        ending: Shutdown,
        export: Export,
        known: str | None,
    ) -> None:
        self._opened = opened
        self._readings = readings
        self._ending = ending
        self._export = export
        self._known = known
        self._told: Export | None = None
        self._sent_at = time.monotonic()

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the stream's pieces until the export has ended, or the stream has to."""
        ends_at = time.monotonic() + LIFETIME_S
        yield b"retry: %d\n\n" % RETRY_MS
        async with self._opened.news.listen(self._export.id) as changes:
            while not self._ending.has_begun and time.monotonic() < ends_at:
                try:
                    await self._read()
                except ExportNotFound:
                    return
                async for message in self._news():
                    yield message
                if not self._export.is_active:
                    return
                await self._ending.unless_begun(next_or_timeout(changes, REREAD_S), otherwise=None)

    async def _read(self) -> None:
        """Read the row again; while the database is away, the last reading stands.

        Raises:
            ExportNotFound: the row is gone.
        """
        try:
            self._export = await self._readings.read(self._export.seller_id, self._export.id)
        except TemporaryError:
            return

    async def _news(self) -> AsyncIterator[bytes]:
        """Yield what the listener does not know yet, and then give it time to be read."""
        if self._export != self._told:
            self._told = self._export
            event = Event.of(self._export)
            if event.id != self._known:
                self._known = event.id
                self._sent_at = time.monotonic()
                yield _message(event, await export_document(self._opened, self._export))
                await self._rest()
        elif time.monotonic() - self._sent_at > HEARTBEAT_S:
            self._sent_at = time.monotonic()
            yield HEARTBEAT

    async def _rest(self) -> None:
        """Let news gather for a while; the end of an export is told at once."""
        if self._export.is_active:
            await self._ending.unless_begun(asyncio.sleep(PROGRESS_S), otherwise=None)


def _message(event: Event, document: dict[str, Any]) -> bytes:
    data = json.dumps(document)
    return f"id: {event.id}\nevent: {event.name}\ndata: {data}\n\n".encode()
