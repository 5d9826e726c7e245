"""Counting requests: by method, route template and status, and how long an answer takes."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.resources import Resources

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

OTHER = "other"
"""Whatever somebody makes up: as a method, or as an address that is no route."""


class Measured:
    """Counts every answer when it begins; the time until then is the request's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        is_counted = False

        async def send_counted(message: Message) -> None:
            nonlocal is_counted
            if message["type"] == "http.response.start" and not is_counted:
                is_counted = True
                _count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception:
            if not is_counted:  # the framework will answer 500
                _count(scope, 500, time.perf_counter() - began)
            raise


def _count(scope: Scope, status: int, seconds: float) -> None:
    opened: Resources = scope["app"].state.resources
    method = scope["method"] if scope["method"] in METHODS else OTHER
    route = getattr(scope.get("route"), "path", OTHER)
    opened.metrics.http_requests.labels(method, route, status).inc()
    opened.metrics.http_seconds.labels(method, route).observe(seconds)
