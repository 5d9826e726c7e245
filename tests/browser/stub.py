"""A service that answers as a test says: for what a real one seldom does."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, Request, Route

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Allow-Methods": "*",
    "Access-Control-Expose-Headers": "*",
}

LABELS = {"follower": "Followers", "customer": "Customers", "affiliate": "Affiliates"}


def job(number: int = 1, status: str = "succeeded", **changes: Any) -> dict[str, Any]:
    """Return an export as the API answers it."""
    has_file = status == "succeeded"
    document: dict[str, Any] = {
        "id": f"job-{number}",
        "status": status,
        "sources": ["follower"],
        "columns": ["email", "subscribed_at"],
        "format": "csv",
        "timezone": "UTC",
        "joined_after": None,
        "joined_before": None,
        "recipient_email": "seller@example.com",
        "progress": {"rows_exported": 0, "rows_estimated": 100},
        "file": {"name": "a.csv", "rows": 3, "bytes": 120} if has_file else None,
        "download_url": f"https://files.example/{number}" if has_file else None,
        "email": {"status": "pending", "sent_at": None},
        "error": {"code": "x", "detail": "The disk is full."} if status == "failed" else None,
        "created_at": "2026-11-22T13:54:05.000000Z",
        "expires_at": "2026-12-03T12:00:00.000000Z",
    }
    return document | changes


class StubbedService:
    """Answers the requests of one page; what a test puts into ``answers`` comes first.

    ``answers`` maps a method and path, such as ``POST /exports``, to a document, a status, or a
    function of the request that returns either, or ``None`` for no answer at all. ``headers`` are
    those of the answers. ``requests`` are the requests so far.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url
        self.begin()

    def begin(self) -> None:
        """Forget what an earlier test said and did."""
        self.answers: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.counts = {"follower": 3, "customer": 2, "affiliate": 1}
        self.total = 5
        self.newest: list[Mapping[str, Any]] = []
        self.past: list[Mapping[str, Any]] = []
        self.started: Mapping[str, Any] = job(9)
        self.requests: list[Request] = []

    async def install(self) -> None:
        """Answer instead of the service, except for its modules."""
        await self.page.route(f"{self._url}/audience*", self._answer)
        await self.page.route(f"{self._url}/exports**", self._answer)
        await self.page.route(f"{self._url}/exports/**", self._answer)
        await self.page.context.route("https://files.example/*", self._file)

    def sent(self, name: str) -> list[dict[str, Any]]:
        """Return the bodies, or the queries, of the requests of one kind."""
        return [
            json.loads(request.post_data)
            if request.post_data
            else {key: values[0] for key, values in parse_qs(urlsplit(request.url).query).items()}
            for request in self.requests
            if self._name(request) == name
        ]

    def _name(self, request: Request) -> str:
        return f"{request.method} {urlsplit(request.url).path}"

    async def _answer(self, route: Route) -> None:
        request = route.request
        if request.method == "OPTIONS":
            await route.fulfill(status=204, headers=CORS)
            return
        self.requests.append(request)
        answer = self.answers.get(self._name(request), self.usual)
        if isinstance(answer, Callable):  # type: ignore[arg-type] # a class to isinstance
            answer = answer(request)
        if answer is None:
            return
        status, document = answer if isinstance(answer, tuple) else (200, answer)
        await route.fulfill(status=status, json=document, headers=CORS | self.headers)

    def usual(self, request: Request) -> Any:
        """Return the answer of a service without faults."""
        name = self._name(request)
        if name == "GET /audience":
            counts = self.counts.items()
            sources = [{"key": key, "label": LABELS[key], "count": count} for key, count in counts]
            return {"sources": sources, "total": self.total}
        if name == "POST /exports":
            return 202, self.started
        if name == "GET /exports":
            is_past = "status=succeeded" in request.url
            items = self.past if is_past else self.newest
            limit = int(parse_qs(urlsplit(request.url).query)["limit"][0])
            cursor = "more" if len(items) > limit else None
            return {"items": items[:limit], "next_cursor": cursor}
        if name.endswith("/events"):
            return 404, {}
        number = int(name.rpartition("-")[2])
        if request.method == "DELETE":
            return job(number, "deleted")
        return job(number)

    async def _file(self, route: Route) -> None:
        headers = {"Content-Disposition": "attachment; filename=a.csv"}
        await route.fulfill(body="Email\n", content_type="text/csv", headers=headers)
