"""Server-sent events as a browser reads them, from the application on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import uvicorn
from fastapi import FastAPI
from httpx import AsyncClient, Response

STARTED_WITHIN_S = 30


class Server(uvicorn.Server):
    """uvicorn in the tests' own process, which keeps its signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


@asynccontextmanager
async def served(app: FastAPI, grace_s: int | None = 5) -> AsyncIterator[AsyncClient]:
    """Serve the application on a free port and yield a client for it.

    Afterwards connections have ``grace_s``; with ``None``, as in production, all the time there is.
    """
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=grace_s)
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(STARTED_WITHIN_S):
            while not server.started:
                assert not serving.done(), "the server has ended"
                await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


@dataclass(frozen=True)
class ServerEvent:
    """One event."""

    id: str
    name: str
    export: dict[str, Any]


@dataclass(frozen=True)
class Stream:
    """An open stream: its answer, and its events as they arrive."""

    answer: Response
    lines: AsyncIterator[str]

    async def event(self) -> ServerEvent:
        """Return the next event."""
        fields: dict[str, str] = {}
        async for line in self.lines:
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
            elif not line and "data" in fields:
                return ServerEvent(fields["id"], fields["event"], json.loads(fields["data"]))
        raise EOFError

    async def rest(self) -> list[ServerEvent]:
        """Return the events until the stream ends."""
        events = []
        try:
            while True:
                events.append(await self.event())
        except EOFError:
            return events


@asynccontextmanager
async def stream(client: AsyncClient, export_id: UUID, **headers: str) -> AsyncIterator[Stream]:
    """Open the events of an export; header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/exports/{export_id}/events"
    async with client.stream("GET", path, headers=named) as answer:
        yield Stream(answer, answer.aiter_lines())
