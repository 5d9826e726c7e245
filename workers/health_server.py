"""The worker's health server: /healthz, /readyz and /metrics on its own port."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from prometheus_client.exposition import choose_encoder

from app.readiness import as_status, check_dependencies
from app.resources import Resources

log = structlog.get_logger()

BIND_RETRY_S = 2.0

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Response = tuple[int, str, bytes]


class HealthApp:
    """An ASGI application by hand: a framework would cost each worker 10 MB."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._handlers = {
            "/healthz": self._health,
            "/readyz": self._readiness,
            "/metrics": self._metrics,
        }

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        handler = self._handlers.get(scope["path"])
        if handler is None:
            status, media_type, body = 404, "text/plain", b"There is nothing here.\n"
        elif scope["method"] not in ("GET", "HEAD"):
            status, media_type, body = 405, "text/plain", b"Only GET is answered.\n"
        else:
            status, media_type, body = await handler(scope)
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _health(self, _: Scope) -> Response:
        return _json(200, status="alive")

    async def _readiness(self, _: Scope) -> Response:
        checks = await check_dependencies(self._resources)
        is_ready = all(checks.values())
        status = "ready" if is_ready else "not_ready"
        return _json(200 if is_ready else 503, status=status, checks=as_status(checks))

    async def _metrics(self, scope: Scope) -> Response:
        await self._resources.shared_metrics.refresh()
        accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
        encode, media_type = choose_encoder(accept)
        return 200, media_type, encode(self._resources.metrics.registry)


def _json(code: int, **content: object) -> Response:
    return code, "application/json", json.dumps(content).encode()


class SignalFreeServer(uvicorn.Server):
    """uvicorn that leaves the process' signals to the worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve_health(resources: Resources, port: int) -> None:
    """Answer on ``port`` until cancelled.

    A port that is in use, perhaps by a worker that is stopping, does not stop exports: binding is
    retried every ``BIND_RETRY_S``.
    """
    host = resources.settings.worker_metrics_host
    is_logged = False
    while True:
        try:
            listener = _bound(host, port)
        except OSError as error:
            if not is_logged:
                log.warning("metrics port taken", host=host, port=port, reason=error.strerror)
            is_logged = True
            await asyncio.sleep(BIND_RETRY_S)
        else:
            is_logged = False
            await _serve(resources, listener)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Not by uvicorn, which ends the process where the port is taken.
    return socket.create_server((host, port), family=family)


async def _serve(resources: Resources, listener: socket.socket) -> None:
    config = uvicorn.Config(
        HealthApp(resources),
        lifespan="off",
        ws="none",
        # Its default would give uvicorn's loggers handlers that write lines of another format.
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = SignalFreeServer(config)
    try:
        await server.serve(sockets=[listener])
    finally:
        # uvicorn does not shut down when it is cancelled: the port would stay taken.
        for each in getattr(server, "servers", []):
            each.close()
        listener.close()
