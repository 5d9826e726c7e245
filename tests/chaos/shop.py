"""The storefront of a chaos run: requests exports, deletes some, and retries until it succeeds."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.crowd import ExportRequest
from tests.chaos.environment import Environment

RETRY_S = 0.3
TIMEOUT_S = 30
DEADLINE_S = 120
WITHDRAWN_PART = 0.1
THINKING_S = 4.0


class Shop:
    """Makes each request once.

    ``withdrawn`` holds the recipients of deleted exports, ``accepted_by`` says of each recipient
    which checkout's API accepted the request. ``withdrawn_part`` of the exports are deleted.
    """

    def __init__(
        self,
        environment: Environment,
        dice: random.Random,
        withdrawn_part: float = WITHDRAWN_PART,
    ) -> None:
        self.withdrawn: set[str] = set()
        self.accepted_by: dict[str, Path] = {}
        self._environment = environment
        self._dice = dice
        self._withdrawn_part = withdrawn_part

    async def trade(self, requests: Iterable[ExportRequest], seconds: float) -> None:
        """Make the requests within this many seconds, and return when all are accepted."""
        headers = {"Authorization": f"Bearer {self._environment.token}"}
        async with (
            httpx.AsyncClient(headers=headers, timeout=TIMEOUT_S) as client,
            asyncio.TaskGroup() as group,
        ):
            for request in requests:
                after_s = self._dice.uniform(0, seconds)
                is_withdrawn = self._dice.random() < self._withdrawn_part
                thinking_s = self._dice.uniform(0, THINKING_S) if is_withdrawn else None
                group.create_task(self._make(client, request, after_s, thinking_s))

    async def _make(
        self,
        client: httpx.AsyncClient,
        request: ExportRequest,
        after_s: float,
        thinking_s: float | None,
    ) -> None:
        await asyncio.sleep(after_s)
        key = {"Idempotency-Key": f"request {request.number}"}
        export = await self._call(client, "POST", "/exports", json=request.body, headers=key)
        self.accepted_by[request.recipient] = self._environment.api_root
        if thinking_s is None:
            return
        await asyncio.sleep(thinking_s)
        self.withdrawn.add(request.recipient)
        deleted = await self._call(client, "DELETE", f"/exports/{export['id']}")
        assert deleted["status"] == "cancelled" or deleted["download_url"] is None, deleted

    async def _call(
        self, client: httpx.AsyncClient, method: str, path: str, **request: Any
    ) -> dict[str, Any]:
        try:
            return await retry_until(
                client, method, path, base_url=lambda: self._environment.api_url, **request
            )
        except AssertionError as error:
            error.add_note(self._environment.api_errors())
            raise


def of_client() -> str:
    """Leave a request to the client's own ``base_url``."""
    return ""


async def retry_until(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    base_url: Callable[[], str] = of_client,
    **request: Any,
) -> dict[str, Any]:
    """Repeat a request until it succeeds; ``base_url`` says which API serves at the time."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        reason = await _reason_to_repeat(client, method, f"{base_url()}{path}", request)
        if isinstance(reason, dict):
            return reason
        assert time.monotonic() < deadline, f"{method} {path}: {reason}"
        await asyncio.sleep(RETRY_S)


async def _reason_to_repeat(
    client: httpx.AsyncClient, method: str, url: str, request: dict[str, Any]
) -> dict[str, Any] | str:
    """Return the response's JSON, or the reason to repeat the request."""
    try:
        answer = await client.request(method, url, **request)
    except httpx.TransportError as error:
        return repr(error)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return answer.text
    assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text}"
    document: dict[str, Any] = answer.json()
    return document
