"""Each request as the operator sees it: its id, its trace, its line in the log, its count."""

import logging
import time
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.correlation import correlate, request_id_of, traceparent_of
from app.resources import Resources
from app.tracing import UNTRACED, Span, Tracer

log = structlog.get_logger()

REQUEST_ID = "X-Request-ID"

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

OTHER = "other"
"""Whatever somebody makes up: as a method, or as an address that is no route."""


class Observed:
    """Names each request, measures it and writes its line, whatever becomes of it.

    It is counted when its answer begins; the time until then is what Prometheus
    gets, the time until its end what its line tells. Routes find the id and the
    trace in ``request.state``. The line has the route's template, never the path
    itself, which may hold a token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_of(headers.getlist(REQUEST_ID))
        traceparent = traceparent_of(headers.getlist("traceparent"))
        with _tracer(scope).begin(scope["method"], traceparent, kind="server") as span:
            correlate(request_id, span.traceparent)
            state = scope.setdefault("state", {})
            state |= {"request_id": request_id, "traceparent": span.traceparent}
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        begun_at = time.perf_counter()
        status: int | None = None

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _count(scope, status, time.perf_counter() - begun_at)
                MutableHeaders(scope=message)[REQUEST_ID] = scope["state"]["request_id"]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        finally:
            self._tell(scope, status, time.perf_counter() - begun_at, span)

    def _tell(self, scope: Scope, status: int | None, duration_s: float, span: Span) -> None:
        method, route = scope["method"], getattr(scope.get("route"), "path", None)
        is_fault = status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        log.log(
            logging.WARNING if is_fault else logging.INFO,
            "request answered",
            method=method,
            route=route,
            status=status,
            duration_s=round(duration_s, 4),
        )
        span.rename(f"{method} {route or 'unknown'}")
        span.add({"http.request.method": method, "http.route": route or "unknown"})
        if status is not None:
            span.add({"http.response.status_code": status})
        if is_fault:
            span.fail(str(status or "aborted"))


def _count(scope: Scope, status: int, seconds: float) -> None:
    resources = _resources(scope)
    if resources is None:
        return
    method = scope["method"] if scope["method"] in METHODS else OTHER
    route = getattr(scope.get("route"), "path", OTHER)
    resources.metrics.http_requests.labels(method, route, status).inc()
    resources.metrics.http_seconds.labels(method, route).observe(seconds)


def _tracer(scope: Scope) -> Tracer:
    resources = _resources(scope)
    return UNTRACED if resources is None else resources.tracer


def _resources(scope: Scope) -> Resources | None:
    resources: Resources | None = getattr(scope["app"].state, "resources", None)
    return resources
