"""The worker's side door: alive, ready and metrics over HTTP, on a port of its own."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from app.api.operations import create_operations_app
from app.resources import Resources

log = structlog.get_logger()

AGAIN_S = 2.0


class Server(uvicorn.Server):
    """uvicorn that leaves the process' signals to the worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def keep_open(resources: Resources, port: int) -> None:
    """Answer on ``port`` until cancelled.

    Exports matter more than being watched: while somebody else has the port,
    a worker on its way out perhaps, this one works on and tries again.
    """
    host = resources.settings.worker_metrics_host
    is_known = False
    while True:
        try:
            listener = _bound(host, port)
        except OSError as error:
            if not is_known:
                log.warning("metrics port taken", host=host, port=port, reason=error.strerror)
            is_known = True
            await asyncio.sleep(AGAIN_S)
        else:
            is_known = False
            await _serve(resources, listener)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


async def _serve(resources: Resources, listener: socket.socket) -> None:
    config = uvicorn.Config(
        create_operations_app(resources),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = Server(config)
    try:
        await server.serve(sockets=[listener])
    finally:
        for each in getattr(server, "servers", []):
            each.close()
        listener.close()
