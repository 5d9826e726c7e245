"""A DNS resolver in which a host with slow name servers delays no other lookup."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Thread
from typing import Any, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str], list[str]]


def resolve_host(host: str) -> list[str]:
    """Return a host's addresses from the system's resolver. Blocks.

    Raises:
        OSError: the host has no address.
    """
    entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


class DnsResolver:
    """Resolves host names; concurrent lookups of one host share a result.

    Each lookup has its own daemon thread. The event loop's default executor
    has few threads, which the whole process shares, which cannot be cancelled
    and which shutdown waits for.
    """

    def __init__(self, resolve: Resolve = resolve_host) -> None:
        self._resolve = resolve
        self._lookups: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str) -> list[Address]:
        """Return the addresses of a host, in the system's order of preference.

        Raises:
            OSError, UnicodeError: the host has no address, or its name is invalid.
        """
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = self._begin(host)
        # Shielded: a call that times out must not cancel the lookup that others share.
        return [ip_address(each) for each in await asyncio.shield(lookup)]

    def _begin(self, host: str) -> "asyncio.Future[list[str]]":
        loop = asyncio.get_running_loop()
        lookup: asyncio.Future[list[str]] = loop.create_future()

        def end(change: Callable[[Any], None], value: object) -> None:
            # Not cached: each call checks the addresses that the name has now.
            del self._lookups[host]
            change(value)
            lookup.exception()  # marks it as retrieved: the caller may have been cancelled

        def look_up() -> None:
            try:
                change, value = lookup.set_result, self._resolve(host)
            except Exception as error:  # or the lookup, which later calls share, would never end
                change, value = lookup.set_exception, error  # type: ignore[assignment]  # one of two
            with contextlib.suppress(RuntimeError):  # the loop was closed during the lookup
                loop.call_soon_threadsafe(end, change, value)

        Thread(target=look_up, name="name lookup", daemon=True).start()
        return lookup
