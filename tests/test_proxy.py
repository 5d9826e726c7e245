"""The tests' proxy: it ends as a crashed server does, whatever was under way."""

import asyncio
import gc
import socket

import pytest

from tests.polling import HANGS_S
from tests.proxy import Proxy


@pytest.mark.parametrize("turns", range(8))
async def test_a_client_that_comes_as_it_stops_is_reset_and_nothing_left(
    turns: int, caplog: pytest.LogCaptureFixture
) -> None:
    """After so many turns of the loop: not accepted yet, without a transport, without a task."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = Proxy(*server.getsockname())
        await proxy.start()
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await proxy.stop()
            await asyncio.sleep(0.01)
            client.settimeout(HANGS_S)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    assert proxy.open_connections == 0
    gc.collect()
    assert caplog.records == []
