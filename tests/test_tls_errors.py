"""Why a connection failed: what TLS says, else the system; never an address."""

import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from app.tls_errors import connection_failure

KEY = ConnectionKey("store.example", 443, True, True, None, None, None)


def chained(outer: BaseException, inner: BaseException) -> BaseException:
    """Return an error that a library raised from another."""
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('10.0.0.9', 1)"), "Connection refused"),
        (
            chained(RuntimeError("at 10.0.0.9"), socket.gaierror(-2, "Name or service not known")),
            "Name or service not known",
        ),
        (
            chained(aiohttp.ClientConnectorSSLError(KEY, OSError(1, "")), OSError(104, "")),
            "Operation not permitted",
        ),
        (RuntimeError("at 10.0.0.9"), None),
        (OSError("Multiple exceptions: 10.0.0.9"), None),
    ],
)
def test_a_failed_connection_is_explained_without_an_address(
    error: BaseException, words: str | None
) -> None:
    assert connection_failure(error) == words
