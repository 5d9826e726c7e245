"""The storefront of a run of chaos: asks for exports, deletes some, and does not give up."""

import asyncio
import random
import time
from typing import Any

import httpx

from tests.chaos.arena import Arena
from tests.chaos.crowd import Crowd, Wish

RETRY_S = 0.3
TIMEOUT_S = 30
PATIENCE_S = 120
WITHDRAWN_PART = 0.1
THINKING_S = 4.0


class Shop:
    """Makes every wish once; ``withdrawn`` are the recipients of those it deleted."""

    def __init__(self, arena: Arena, crowd: Crowd, dice: random.Random) -> None:
        self.withdrawn: set[str] = set()
        self._arena = arena
        self._crowd = crowd
        self._dice = dice

    async def trade(self, seconds: float) -> None:
        """Make all wishes within so many seconds, and return when all are accepted."""
        headers = {"Authorization": f"Bearer {self._arena.token}"}
        async with (
            httpx.AsyncClient(
                base_url=self._arena.api_url, headers=headers, timeout=TIMEOUT_S
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for wish in self._crowd.wishes:
                after_s = self._dice.uniform(0, seconds)
                is_withdrawn = self._dice.random() < WITHDRAWN_PART
                thinking_s = self._dice.uniform(0, THINKING_S) if is_withdrawn else None
                group.create_task(self._make(client, wish, after_s, thinking_s))

    async def _make(
        self, client: httpx.AsyncClient, wish: Wish, after_s: float, thinking_s: float | None
    ) -> None:
        await asyncio.sleep(after_s)
        key = {"Idempotency-Key": f"wish {wish.number}"}
        export = await insist(client, "POST", "/exports", json=wish.body, headers=key)
        if thinking_s is None:
            return
        await asyncio.sleep(thinking_s)
        self.withdrawn.add(wish.recipient)
        deleted = await insist(client, "DELETE", f"/exports/{export['id']}")
        assert deleted["status"] in ("cancelled", "deleted"), deleted


async def insist(
    client: httpx.AsyncClient, method: str, path: str, **request: Any
) -> dict[str, Any]:
    """Repeat a request until it is answered with a success."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        reason = await _reason_to_repeat(client, method, path, request)
        if isinstance(reason, dict):
            return reason
        assert time.monotonic() < deadline, f"{method} {path}: {reason}"
        await asyncio.sleep(RETRY_S)


async def _reason_to_repeat(
    client: httpx.AsyncClient, method: str, path: str, request: dict[str, Any]
) -> dict[str, Any] | str:
    """Return the answer's document, or why there is none yet."""
    try:
        answer = await client.request(method, path, **request)
    except httpx.TransportError as error:
        return repr(error)
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return answer.text
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    document: dict[str, Any] = answer.json()
    return document
