"""Per request: its id, its trace, its log line and its metrics."""

import logging
import time
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observability.correlation import bind_log_context, parse_request_id, parse_traceparent
from app.observability.tracing import NOOP_TRACER, Span, Tracer, set_error, traceparent_of
from app.resources import Resources

log = structlog.get_logger()

REQUEST_ID = "X-Request-ID"

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

OTHER = "other"
"""Metric label of unknown methods and paths, so that clients cannot add labels."""


class RequestLoggingMiddleware:
    """Gives each request an id, measures it and logs it, also when it fails.

    The metrics measure the time until the response begins, the log line the time
    until it ends. Routes find ``request_id`` and ``traceparent`` in
    ``request.state``. The route's template is logged, never the path, which may
    hold a token.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = parse_request_id(headers.getlist(REQUEST_ID))
        traceparent = parse_traceparent(headers.getlist("traceparent"))
        with _tracer(scope).start_span(scope["method"], traceparent, kind="server") as span:
            traceparent = traceparent_of(span)
            bind_log_context(request_id, traceparent)
            state = scope.setdefault("state", {})
            state |= {"request_id": request_id, "traceparent": traceparent}
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        started_at = time.perf_counter()
        status: int | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _count(scope, status, time.perf_counter() - started_at)
                MutableHeaders(scope=message)[REQUEST_ID] = scope["state"]["request_id"]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._log(scope, status, time.perf_counter() - started_at, span)

    def _log(self, scope: Scope, status: int | None, duration_s: float, span: Span) -> None:
        method, route = scope["method"], getattr(scope.get("route"), "path", None)
        is_fault = status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        log.log(
            logging.WARNING if is_fault else logging.INFO,
            "request completed",
            method=method,
            route=route,
            status=status,
            duration_s=round(duration_s, 4),
        )
        span.update_name(f"{method} {route or 'unknown'}")
        span.set_attributes({"http.request.method": method, "http.route": route or "unknown"})
        if status is not None:
            span.set_attributes({"http.response.status_code": status})
        if is_fault:
            set_error(span, str(status or "aborted"))


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
    return NOOP_TRACER if resources is None else resources.tracer


def _resources(scope: Scope) -> Resources | None:
    resources: Resources | None = getattr(scope["app"].state, "resources", None)
    return resources
