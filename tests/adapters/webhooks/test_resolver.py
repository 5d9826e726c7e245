"""Looking up names: a silent one keeps nobody waiting, and is looked_up for once."""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from threading import Event

import pytest

from app.adapters.webhooks.resolver import DnsResolver

ADDRESSES = {"quick.example": "192.0.2.1", "slow.example": "192.0.2.2"}


class Resolver:
    """A system that finds slow.example only when it is told to."""

    def __init__(self) -> None:
        self.looked_up: list[str] = []
        self.answers = Event()

    def __call__(self, host: str) -> list[str]:
        self.looked_up.append(host)
        if host == "slow.example":
            self.answers.wait()
        if host not in ADDRESSES:
            raise OSError(host)
        return [ADDRESSES[host]]


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    """What names are looked up with."""
    resolver = Resolver()
    yield resolver
    resolver.answers.set()


async def test_a_silent_name_keeps_nobody_waiting_and_is_looked_up_once(resolver: Resolver) -> None:
    names = DnsResolver(resolver)
    waiting = [asyncio.create_task(names.addresses("slow.example")) for _ in range(100)]
    async with asyncio.timeout(30):
        assert await names.addresses("quick.example") == [ip_address("192.0.2.1")]
        assert not any(task.done() for task in waiting)
        waiting.pop().cancel()
        resolver.answers.set()
        assert await asyncio.gather(*waiting) == [[ip_address("192.0.2.2")]] * 99
    assert sorted(resolver.looked_up) == ["quick.example", "slow.example"]


async def test_what_was_found_is_not_kept(resolver: Resolver) -> None:
    names = DnsResolver(resolver)
    for _ in range(2):
        await names.addresses("quick.example")
    assert resolver.looked_up == ["quick.example"] * 2


async def test_a_name_that_is_not_there_is_an_error_each_time(resolver: Resolver) -> None:
    names = DnsResolver(resolver)
    for _ in range(2):
        with pytest.raises(OSError, match=r"none\.example"):
            await names.addresses("none.example")


async def test_an_unexpected_error_ends_its_lookup_only() -> None:
    def defect(host: str) -> list[str]:
        raise ValueError(host)

    names = DnsResolver(defect)
    async with asyncio.timeout(10):
        for _ in range(2):
            with pytest.raises(ValueError, match=r"odd\.example"):
                await names.addresses("odd.example")


async def test_the_system_knows_this_machine() -> None:
    assert all(each.is_loopback for each in await DnsResolver().addresses("localhost"))
