"""The faults of a run of chaos, all of them from outside."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import redis

from tests.chaos.arena import Arena, Worker
from tests.proxy import Action, Answer, Close, CutAnswer, Delay, Proxy, Reset

Act = Callable[[], Awaitable[None]]

SLOW_DOWN = Answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>")
INTERNAL_ERROR = Answer(500, b"<Error><Code>InternalError</Code><Message>Oops</Message></Error>")
TRY_LATER = Answer(raw=b"451 4.3.0 Try again later\r\n")
SHUTTING_DOWN = Answer(raw=b"421 4.3.2 Shutting down\r\n")

ANYTHING = rb""
WRITES = rb"^(PUT|POST|DELETE) /"
CONTENT = rb"Message-ID:"
"""A mail's content: what breaks in its answer leaves the sender without a word."""

STORE_FAULTS: dict[str, tuple[Action, bytes]] = {
    "reset": (Reset(), ANYTHING),
    "cut in half": (Reset(after_bytes=1000), ANYTHING),
    "closed": (Close(), WRITES),
    "answer lost": (CutAnswer(), WRITES),
    "answer cut in half": (CutAnswer(after_bytes=100), WRITES),
    "503 SlowDown": (SLOW_DOWN, WRITES),
    "500": (INTERNAL_ERROR, WRITES),
    "delayed": (Delay(2), WRITES),
}

MAIL_FAULTS: dict[str, tuple[Action, bytes]] = {
    "reset": (Reset(), ANYTHING),
    "451": (TRY_LATER, rb"^(MAIL|RCPT|DATA)"),
    "421": (SHUTTING_DOWN, ANYTHING),
    "answer lost": (CutAnswer(), rb"^(EHLO|MAIL|RCPT|DATA)"),
    "word after the content lost": (CutAnswer(), CONTENT),
    "delayed": (Delay(2), ANYTHING),
}

DOWN_MAX_S = 5.0

SLOW_S = 0.4
"""Every write to the store takes so long, so that more is under way when something breaks."""


async def nothing() -> None:
    """What begins and ends at once needs no end."""


@dataclass(frozen=True)
class Outage:
    """Something that breaks and is mended up to ``longest_s`` later."""

    name: str
    weight: float
    begin: Act
    end: Act = nothing
    longest_s: float = 0
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """What it happens to: one thing at a time."""


class Monkey:
    """Lets things break, one after the other and some at once, as the dice fall."""

    def __init__(self, arena: Arena, dice: random.Random, frozen_max_s: float) -> None:
        self.count: Counter[str] = Counter()
        self._dice = dice
        self._store, self._mail_server = arena.s3_proxy, arena.smtp_proxy
        self._outages = [
            *outages_of_servers(arena),
            *(each for worker in arena.workers for each in outages_of(worker, frozen_max_s)),
            *self._bad_network("store", arena.s3_proxy, STORE_FAULTS),
            *self._bad_network("mail server", arena.smtp_proxy, MAIL_FAULTS),
        ]

    async def rage(self, seconds: float, every_s: float) -> None:
        """Break something every now and then, most for short; all is mended at the end."""
        self._store.fault(Delay(SLOW_S), on=WRITES, times=None)
        weights = [outage.weight for outage in self._outages]
        ends_at = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < ends_at:
                (outage,) = self._dice.choices(self._outages, weights)
                if not outage.alone.locked():
                    group.create_task(
                        self._let(outage, outage.longest_s * self._dice.random() ** 3)
                    )
                await asyncio.sleep(self._dice.expovariate(1 / every_s))
        self._store.heal()
        self._mail_server.heal()

    async def _let(self, outage: Outage, seconds: float) -> None:
        async with outage.alone:
            await outage.begin()
            self.count[outage.name] += 1
            await asyncio.sleep(seconds)
            await outage.end()

    def _bad_network(
        self, name: str, proxy: Proxy, faults: dict[str, tuple[Action, bytes]]
    ) -> Iterator[Outage]:
        """Yield what may go wrong between the service and a server."""
        for what, (action, on) in faults.items():
            yield Outage(f"{name}: {what}", 1, partial(self._disturb, proxy, action, on))
        yield Outage(f"{name}: unreachable", 1, proxy.stop, proxy.start, DOWN_MAX_S)

    async def _disturb(self, proxy: Proxy, action: Action, on: bytes) -> None:
        """Let some of the next requests go wrong, and now and then all connections."""
        proxy.fault(action, on=on, times=self._dice.randint(1, 5))
        if self._dice.random() < 0.2:
            proxy.drop()


def outages_of_servers(arena: Arena) -> Iterator[Outage]:
    """Yield what may happen to PostgreSQL and Redis."""
    queue, database = asyncio.Lock(), asyncio.Lock()
    flush, cut = threaded(partial(empty, arena)), threaded(partial(end_sessions, arena))
    kill, start = threaded(arena.redis.kill), threaded(arena.redis.start)
    yield Outage("Redis emptied", 1, flush, alone=queue)
    yield Outage("Redis killed", 1, kill, start, DOWN_MAX_S, queue)
    stop, go_on = signals(lambda: arena.redis.pid)
    yield Outage("Redis frozen", 1, stop, go_on, DOWN_MAX_S, queue)
    kill, start = threaded(arena.postgres.kill), threaded(arena.postgres.start)
    yield Outage("PostgreSQL killed", 1, kill, start, DOWN_MAX_S, database)
    yield Outage("database sessions ended", 2, cut, alone=database)


def outages_of(worker: Worker, frozen_max_s: float) -> Iterator[Outage]:
    """Yield what may happen to a worker."""
    alone = asyncio.Lock()
    start = threaded(worker.start)
    yield Outage("worker killed", 1, threaded(worker.kill), start, 1, alone)
    yield Outage("worker told to stop", 0.5, threaded(worker.stop), start, alone=alone)
    stop, go_on = signals(lambda: worker.pid)
    yield Outage("worker frozen", 0.5, stop, go_on, frozen_max_s, alone)


def threaded(act: Callable[[], object]) -> Act:
    """Return what does something that waits, while the proxies go on."""

    async def do() -> None:
        await asyncio.to_thread(act)

    return do


def signals(pid: Callable[[], int]) -> tuple[Act, Act]:
    """Return what freezes a process, and what lets it go on."""

    async def stop() -> None:
        os.kill(pid(), signal.SIGSTOP)

    async def go_on() -> None:
        os.kill(pid(), signal.SIGCONT)

    return stop, go_on


def empty(arena: Arena) -> None:
    """FLUSHALL."""
    with redis.Redis.from_url(arena.redis.url()) as client:
        client.flushall()


def end_sessions(arena: Arena) -> None:
    """pg_terminate_backend for half of the service's sessions."""
    arena.postgres.execute("""
        SELECT pg_terminate_backend(pid)
        FROM pg_stat_activity
        WHERE datname = 'chaos' AND random() < 0.5
    """)
