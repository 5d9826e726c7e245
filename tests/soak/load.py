"""The load of a soak: everything that callers do, at random, paced."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

import httpx

from app.checksums import Crc32c
from tests.chaos.crowd import DAY, LARGE_ROWS
from tests.chaos.environment import Environment
from tests.chaos.shop import TIMEOUT_S, retry_until

SMALL = range(2, 12)
LONG_ADDRESSES, LARGE, FED = 12, 13, 14
SIZES = {**dict.fromkeys(SMALL, 400), LONG_ADDRESSES: LARGE_ROWS, FED: 0}
"""Members by seller, without those of ``LARGE``. Files of ``LONG_ADDRESSES`` have several parts."""

NOTIFY_ABOVE_ROWS = 1000
FED_KEYS = 20
FED_AT_ONCE = 200
"""How many members a feed has: each batch of ``FED_KEYS`` adds as many as it deletes."""

ACTIVE = ("queued", "running")
WAIT_S = 20
TRIES = 30
RETRY_S = 1.0
BROKEN_OFF_S = 0.5

Act = Callable[[], Awaitable[None]]


class Load:
    """Callers who each repeat one thing, with random pauses.

    Attributes:
        done: how often each thing was done.
        faults: what was not as it should be.
    """

    def __init__(self, environment: Environment, dice: random.Random) -> None:
        self.faults: list[str] = []
        self._dice = dice
        self._numbers = count(1)
        self._versions = count(1)
        headers = {"Authorization": f"Bearer {environment.token}"}
        self._client = httpx.AsyncClient(
            base_url=environment.api_url, headers=headers, timeout=TIMEOUT_S + WAIT_S
        )
        self._browser = httpx.AsyncClient(timeout=TIMEOUT_S)
        self.done = Counter(dict.fromkeys(self.acts, 0))

    @property
    def acts(self) -> Mapping[str, tuple[float, Act]]:
        """What is done, with the mean seconds between two times."""
        return {
            "small exports": (3, self._small_export),
            "event streams": (10, self._event_stream),
            "workbooks": (15, self._workbook),
            "exports of several parts": (60, self._several_parts),
            "large exports": (150, self._large_export),
            "cancels": (10, self._cancel),
            "deletes": (10, self._delete),
            "mails sent again": (20, self._resend),
            "batches of events": (5, self._feed),
            "looks": (5, self._look),
            "streams and downloads broken off": (15, self._break_off),
        }

    async def run_for_ever(self, pace: float = 1) -> None:
        """Do everything at its interval times ``pace``, until cancelled."""
        async with self._client, self._browser, asyncio.TaskGroup() as group:
            for name, (every_s, act) in self.acts.items():
                group.create_task(self._repeat(name, every_s * pace, act))

    async def _repeat(self, name: str, every_s: float, act: Act) -> None:
        while True:
            try:
                await act()
                self.done[name] += 1
            except Exception as error:  # the load goes on, and the run fails at its end
                self.faults.append(f"{name}: {error!r}")
            await asyncio.sleep(self._dice.expovariate(1 / every_s))

    async def _small_export(self) -> None:
        await self._download(await self._finished(await self._request(self._small())))

    async def _workbook(self) -> None:
        export = await self._request(self._small(), format="xlsx", timezone="Europe/Berlin")
        await self._download(await self._finished(export))

    async def _several_parts(self) -> None:
        await self._download(await self._finished(await self._request(LONG_ADDRESSES)))

    async def _large_export(self) -> None:
        await self._download(await self._finished(await self._request(LARGE)))

    async def _cancel(self) -> None:
        export = await self._request(self._dice.choice([*SMALL, LONG_ADDRESSES]))
        await asyncio.sleep(self._dice.random())
        await self._call("DELETE", f"/exports/{export['id']}")

    async def _delete(self) -> None:
        export = await self._finished(await self._request(self._small()))
        await self._call("DELETE", f"/exports/{export['id']}")

    async def _resend(self) -> None:
        export = await self._finished(await self._request(self._small()))
        await self._call("POST", f"/exports/{export['id']}/email")

    async def _event_stream(self) -> None:
        export = await self._request(self._small())
        with contextlib.suppress(httpx.TransportError):
            async with self._client.stream("GET", f"/exports/{export['id']}/events") as stream:
                async for line in stream.aiter_lines():
                    if line == "event: finished":
                        break
        await self._download(await self._finished(export))

    async def _break_off(self) -> None:
        """Leave an event stream, and a download in its middle."""
        export = await self._request(LONG_ADDRESSES)
        with contextlib.suppress(TimeoutError, httpx.TransportError):
            async with (
                asyncio.timeout(BROKEN_OFF_S),
                self._client.stream("GET", f"/exports/{export['id']}/events") as stream,
            ):
                await stream.aread()
        finished = await self._finished(export)
        with contextlib.suppress(httpx.TransportError):
            async with self._browser.stream(
                "GET", finished["download_url"], follow_redirects=True
            ) as response:
                await anext(response.aiter_bytes())

    async def _feed(self) -> None:
        """Add followers, and delete those of some batches ago."""
        version = next(self._versions)
        head = {"source": "follower", "version": version, "seller_id": FED}
        at = version * FED_KEYS
        row = {"created_at": DAY.isoformat(), "confirmed_at": DAY.isoformat()}
        events: list[dict[str, Any]] = [
            {**head, "key": str(key), "row": {**row, "email": f"fan{key}@x.co"}}
            for key in range(at, at + FED_KEYS)
        ]
        events += [
            {**head, "key": str(key - FED_AT_ONCE), "deleted": True}
            for key in range(at, at + FED_KEYS)
            if key > FED_AT_ONCE
        ]
        await self._call(
            "POST",
            "/audience/events",
            content="\n".join(map(json.dumps, events)),
            headers={"Content-Type": "application/x-ndjson"},
        )

    async def _look(self) -> None:
        for path in ("/exports?limit=5", "/stats?days=7", f"/audience?seller_id={LARGE}"):
            await self._call("GET", path)
        for path in ("/metrics", "/exports/unknown", "/d/forged"):
            with contextlib.suppress(httpx.TransportError):
                await self._client.get(path)

    async def _request(self, seller_id: int, **options: str) -> dict[str, Any]:
        number = next(self._numbers)
        body = {
            "seller_id": seller_id,
            "recipient_email": f"export{number}@example.com",
            "follower": True,
            "customer": True,
            **options,
        }
        key = {"Idempotency-Key": f"request {number}"}
        return await self._call("POST", "/exports", json=body, headers=key)

    def _small(self) -> int:
        return self._dice.choice(SMALL)

    async def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        return await retry_until(self._client, method, path, **request)

    async def _finished(self, export: dict[str, Any]) -> dict[str, Any]:
        """Wait until an export has succeeded."""
        while export["status"] in ACTIVE:
            export = await self._call("GET", f"/exports/{export['id']}?wait={WAIT_S}")
        assert export["status"] == "succeeded", f"{export['status']}: {export['error']}"
        return export

    async def _download(self, export: dict[str, Any]) -> None:
        """Open the link, through every outage, and compare the file's checksum."""
        for _ in range(TRIES):
            with contextlib.suppress(httpx.TransportError):
                answer = await self._browser.get(export["download_url"], follow_redirects=True)
                if answer.is_success:
                    found = Crc32c.of(answer.content).label
                    assert found == export["file"]["checksum"], f"{export['id']}: another file"
                    return
                assert answer.is_server_error, f"{answer.status_code}: {answer.text}"
            await asyncio.sleep(RETRY_S)
        raise AssertionError(f"{export['id']}: no download")
