"""Looking up names, so that one whose servers are silent keeps nobody else waiting."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from threading import Thread
from typing import Any, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str], list[str]]


def resolved(host: str) -> list[str]:
    """Ask the system for a name's addresses; it may take its time.

    Raises:
        OSError: there are none.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


class Names:
    """Finds the addresses of names; who asks for one that is being looked up waits with the rest.

    Each name is looked up by a thread of its own. The event loop's are few and
    everybody's, they cannot be called off, and at the end they are waited for.
    """

    def __init__(self, resolve: Resolve = resolved) -> None:
        self._resolve = resolve
        self._lookups: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, host: str) -> list[Address]:
        """Return the addresses of a name, in the system's order.

        Raises:
            OSError, UnicodeError: there are none.
        """
        lookup = self._lookups.get(host)
        if lookup is None:
            lookup = self._lookups[host] = self._begin(host)
        return [ip_address(each) for each in await asyncio.shield(lookup)]

    def _begin(self, host: str) -> "asyncio.Future[list[str]]":
        loop = asyncio.get_running_loop()
        lookup: asyncio.Future[list[str]] = loop.create_future()

        def end(change: Callable[[Any], None], value: object) -> None:
            del self._lookups[host]
            change(value)
            lookup.exception()  # seen: whoever asked may have gone away

        def look_up() -> None:
            try:
                change, value = lookup.set_result, self._resolve(host)
            except (OSError, UnicodeError) as error:
                change, value = lookup.set_exception, error  # type: ignore[assignment]  # one of two
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(end, change, value)

        Thread(target=look_up, name="name lookup", daemon=True).start()
        return lookup
