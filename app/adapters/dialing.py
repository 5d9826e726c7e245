"""Connect to a host with several addresses, one of which may not answer (RFC 8305)."""

import asyncio
import socket

from aiohappyeyeballs import start_connection

HEAD_START_S = 0.25
"""Seconds after which the next address is tried in parallel (RFC 8305, section 8)."""


async def dial(host: str, port: int) -> socket.socket:
    """Return a socket connected to the first address of ``host`` that answers.

    asyncio alone tries the second address only after the kernel has given up on the first, which
    takes two minutes where packets are dropped, as on a broken IPv6 route.

    Raises:
        OSError: the host has no address, or none answers.
    """
    loop = asyncio.get_running_loop()
    try:
        addresses = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror:  # a host name: resolving it blocks, so it goes to a thread
        addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await start_connection(addresses, happy_eyeballs_delay=HEAD_START_S, loop=loop)
