"""Closing connections to the mail server."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException


async def quit_and_close(client: SMTP, timeout_s: float) -> None:
    """Send QUIT, wait up to ``timeout_s`` seconds for the answer, and close the connection."""
    with closed_on_error(client), suppress(SMTPException):
        await client.execute_command(b"QUIT", timeout=timeout_s)
    close(client)


@contextmanager
def closed_on_error(client: SMTP) -> Iterator[None]:
    """Close the connection on any error, cancellation included: its protocol state is unknown."""
    try:
        yield
    except BaseException:
        close(client)
        raise


def close(client: SMTP) -> None:
    """Close the connection at once; what was not sent yet is dropped."""
    # Not close(), which would send the rest first, and wait for the server's end of TLS: for
    # longer than the process, or a loop of a test, may last.
    if isinstance(client.transport, asyncio.WriteTransport):
        client.transport.abort()
    client.close()
