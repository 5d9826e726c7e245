"""A mail server that accepts and drops every message; run as a module it serves."""

import argparse
import asyncio
from typing import cast

import uvloop

MESSAGE_END = b"\r\n.\r\n"
ANSWERS = {
    b"EHLO": b"250-localhost\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
    b"DATA": b"354 Go on\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}


class Conversation(asyncio.Protocol):
    """One client's session; accepts every command and message."""

    def __init__(self) -> None:
        self._pending = b""
        self._in_message = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(b"220 localhost ready\r\n")

    def data_received(self, data: bytes) -> None:
        """Process received bytes: commands and messages, complete or partial."""
        self._pending += data
        while self._step():
            pass

    def _step(self) -> bool:
        """Handle one command or message; return whether a complete one was there."""
        end = MESSAGE_END if self._in_message else b"\r\n"
        unit, found, rest = self._pending.partition(end)
        if not found or self._transport is None:
            return False
        self._pending = rest
        if self._in_message:
            self._in_message = False
            self._transport.write(b"250 2.0.0 Dropped\r\n")
            return True
        verb = unit[:4].upper()
        self._in_message = verb == b"DATA"
        self._transport.write(ANSWERS.get(verb, b"250 2.0.0 OK\r\n"))
        if verb == b"QUIT":
            self._transport.close()
        return True


async def serve(port: int) -> None:
    """Serve on the loopback port until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Conversation, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """Serve until the process gets a signal."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stub_servers.smtp", description=__doc__
    )
    parser.add_argument("port", type=int)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
