"""The faults of a chaos run, all injected from outside the service."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import redis

from tests.chaos.environment import Environment, Worker
from tests.proxy import Action, Answer, Close, CutAnswer, Delay, Proxy, Reset
from tests.roles import PASSWORD

Act = Callable[[], Awaitable[None]]

SLOW_DOWN = Answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>")
INTERNAL_ERROR = Answer(500, b"<Error><Code>InternalError</Code><Message>Oops</Message></Error>")
TRY_LATER = Answer(raw=b"451 4.3.0 Try again later\r\n")
SHUTTING_DOWN = Answer(raw=b"421 4.3.2 Shutting down\r\n")

ANYTHING = rb""
WRITES = rb"^(PUT|POST|DELETE) /"
CONTENT = rb"Message-ID:"
"""A mail's content: a fault in the response leaves the sender without a reply."""

STORE_FAULTS: dict[str, tuple[Action, bytes]] = {
    "reset": (Reset(), ANYTHING),
    "cut in half": (Reset(after_bytes=1000), ANYTHING),
    "closed": (Close(), WRITES),
    "reply lost": (CutAnswer(), WRITES),
    "reply cut in half": (CutAnswer(after_bytes=100), WRITES),
    "503 SlowDown": (SLOW_DOWN, WRITES),
    "500": (INTERNAL_ERROR, WRITES),
    "delayed": (Delay(2), WRITES),
}

MAIL_FAULTS: dict[str, tuple[Action, bytes]] = {
    "reset": (Reset(), ANYTHING),
    "451": (TRY_LATER, rb"^(MAIL|RCPT|DATA)"),
    "421": (SHUTTING_DOWN, ANYTHING),
    "reply lost": (CutAnswer(), rb"^(EHLO|MAIL|RCPT|DATA)"),
    "reply to the content lost": (CutAnswer(), CONTENT),
    "delayed": (Delay(2), ANYTHING),
    "slow reply to the content": (Delay(8), CONTENT),
}
"""The slow answer takes longer than a mail's lease in a short run, which has to be renewed."""

REDIS_FAULTS = {
    "full": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "demoted": ("REPLICAOF 127.0.0.1 9", "REPLICAOF NO ONE"),
    "without channels": (
        "ACL SETUSER default resetchannels",
        "ACL SETUSER default allchannels",
    ),
}
"""Commands that make Redis refuse, and those that fix it."""

DOWN_MAX_S = 5.0

SLOW_S = 0.4
"""Delay of every write to the store, so that more is in flight when a fault strikes."""


async def nothing() -> None:
    """The end of a fault that ends by itself."""


@dataclass(frozen=True)
class Outage:
    """A fault that is repaired at most ``longest_s`` later."""

    name: str
    weight: float
    begin: Act
    end: Act = nothing
    longest_s: float = 0
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """The target; one fault per target at a time."""


class Monkey:
    """Injects faults at random, some of them at the same time, into servers and ``workers``."""

    def __init__(
        self,
        environment: Environment,
        workers: Sequence[Worker],
        dice: random.Random,
        frozen_max_s: float,
    ) -> None:
        self.count: Counter[str] = Counter()
        self._dice = dice
        self._store, self._mail_server = environment.s3_proxy, environment.smtp_proxy
        self._outages = [
            *outages_of_servers(environment),
            *(each for worker in workers for each in outages_of(worker, frozen_max_s)),
            *self._bad_network("store", environment.s3_proxy, STORE_FAULTS),
            *self._bad_network("mail server", environment.smtp_proxy, MAIL_FAULTS),
        ]

    async def rage(
        self, seconds: float, every_s: float, trading: "asyncio.Task[None] | None" = None
    ) -> None:
        """Inject faults at random intervals, mostly short ones; repair all at the end.

        That is when the time is over and ``trading`` has ended.
        """
        self._store.fault(Delay(SLOW_S), on=WRITES, times=None)
        weights = [outage.weight for outage in self._outages]
        ends_at = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < ends_at or (trading and not trading.done()):
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
        """Yield the network faults between the service and a server."""
        for what, (action, on) in faults.items():
            yield Outage(f"{name}: {what}", 1, partial(self._disturb, proxy, action, on))
        yield Outage(f"{name}: unreachable", 1, proxy.stop, proxy.start, DOWN_MAX_S)

    async def _disturb(self, proxy: Proxy, action: Action, on: bytes) -> None:
        """Let some of the next requests fail, and sometimes all connections."""
        proxy.fault(action, on=on, times=self._dice.randint(1, 5))
        if self._dice.random() < 0.2:
            proxy.drop()


def outages_of_servers(environment: Environment) -> Iterator[Outage]:
    """Yield the outages of PostgreSQL and Redis."""
    queue, database = asyncio.Lock(), asyncio.Lock()
    flush, cut = threaded(partial(empty, environment)), threaded(partial(end_sessions, environment))
    kill, start = threaded(environment.redis.kill), threaded(environment.redis.start)
    yield Outage("Redis emptied", 1, flush, alone=queue)
    yield Outage("Redis killed", 1, kill, start, DOWN_MAX_S, queue)
    stop, go_on = signals(lambda: environment.redis.pid)
    yield Outage("Redis frozen", 1, stop, go_on, DOWN_MAX_S, queue)
    for name, (begin, heal) in REDIS_FAULTS.items():
        act, undo = (threaded(partial(command_redis, environment, each)) for each in (begin, heal))
        yield Outage(f"Redis {name}", 0.5, act, undo, DOWN_MAX_S, queue)
    kill, start = threaded(environment.postgres.kill), threaded(environment.postgres.start)
    yield Outage("PostgreSQL killed", 1, kill, start, DOWN_MAX_S, database)
    yield Outage("database sessions terminated", 2, cut, alone=database)
    cancel = threaded(partial(cancel_statements, environment))
    yield Outage("database statements cancelled", 2, cancel, alone=database)
    rotate = threaded(partial(environment.role.change_password, "another"))
    settle = threaded(partial(environment.role.change_password, PASSWORD))
    yield Outage("database password rotated", 1, rotate, settle, DOWN_MAX_S, database)
    forbid = threaded(partial(make_read_only, environment, is_read_only=True))
    permit = threaded(partial(make_read_only, environment, is_read_only=False))
    yield Outage("database sessions read-only", 1, forbid, permit, DOWN_MAX_S, database)


def outages_of(worker: Worker, frozen_max_s: float) -> Iterator[Outage]:
    """Yield the outages of a worker."""
    alone = worker.alone
    start = threaded(worker.start)
    yield Outage("worker killed", 1, threaded(worker.kill), start, 1, alone)
    yield Outage("worker stopped", 0.5, threaded(worker.stop), start, alone=alone)
    stop, go_on = signals(lambda: worker.pid)
    yield Outage("worker frozen", 0.5, stop, go_on, frozen_max_s, alone)


def threaded(act: Callable[[], object]) -> Act:
    """Return a coroutine function that runs ``act`` in a thread, so that the proxies continue."""

    async def do() -> None:
        await asyncio.to_thread(act)

    return do


def signals(pid: Callable[[], int]) -> tuple[Act, Act]:
    """Return the functions that freeze a process and resume it."""

    async def stop() -> None:
        os.kill(pid(), signal.SIGSTOP)

    async def go_on() -> None:
        os.kill(pid(), signal.SIGCONT)

    return stop, go_on


def empty(environment: Environment) -> None:
    """FLUSHALL."""
    with redis.Redis.from_url(environment.redis.url()) as client:
        client.flushall()


def command_redis(environment: Environment, command: str) -> None:
    """Run a command as the administrator of Redis."""
    with redis.Redis.from_url(environment.redis.url()) as client:
        client.execute_command(*command.split())


def end_sessions(environment: Environment) -> None:
    """pg_terminate_backend for half of the service's sessions."""
    environment.postgres.execute("""
        SELECT pg_terminate_backend(pid)
        FROM pg_stat_activity
        WHERE datname = 'chaos' AND random() < 0.5
    """)


def cancel_statements(environment: Environment) -> None:
    """pg_cancel_backend for all of the service's sessions, a few times."""
    for _ in range(5):
        environment.postgres.execute(f"""
            SELECT count(pg_cancel_backend(pid))
            FROM pg_stat_activity
            WHERE usename = '{environment.role.name}'
        """)


def make_read_only(environment: Environment, *, is_read_only: bool) -> None:
    """Make new sessions of the service read-only, or writable; existing ones stay as they are."""
    environment.role.limit({"default_transaction_read_only": "on" if is_read_only else "off"})
    if is_read_only:
        environment.role.end_sessions()
