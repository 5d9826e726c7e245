"""Why a connection failed, or its TLS handshake, in words that hold no address."""

import os
import socket
import ssl
from collections.abc import Iterator

CERTIFICATE_FAULTS = {
    10: "certificate verify failed: it has expired",
    62: "certificate verify failed: it is for another host name",
    64: "certificate verify failed: it is for another IP address",
}
"""By OpenSSL's code (X509_V_ERR_…): those whose own message may hold an address or be vague."""

DEPTH_MAX = 10


def tls_failure(error: BaseException) -> str | None:
    """Return why TLS failed, without a full stop; ``None`` where TLS is not the cause.

    ``error`` may be a library's wrapper: its causes are searched for the ssl module's error.
    """
    for each in causes(error):
        # Before SSLError, its base: that one only says that the verification failed.
        if isinstance(each, ssl.SSLCertVerificationError):
            if not hasattr(each, "verify_code"):
                continue  # aiohttp's, which holds the one of ssl
            otherwise = f"certificate verify failed: {each.verify_message}"
            return CERTIFICATE_FAULTS.get(each.verify_code, otherwise)
        if isinstance(each, ssl.SSLError) and hasattr(each, "reason"):  # aiohttp's has none
            return f"TLS failed: {each.reason or 'no reason given'}"
    return None


def connection_failure(error: BaseException) -> str | None:
    """Return why a server cannot be reached, without a full stop; ``None`` where nothing says so.

    It is what :func:`tls_failure` returns, or what the operating system says.
    """
    if failed := tls_failure(error):
        return failed
    for each in causes(error):
        match each:
            # Before OSError, its base: its number is the resolver's, not the system's.
            case socket.gaierror():
                return str(each.strerror)
            case OSError(errno=int(number)) if number > 0:
                return os.strerror(number)
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it, the nearest first.

    aiohttp has the ssl module's error as an attribute instead of a cause.
    """
    for _ in range(DEPTH_MAX):
        if error is None:
            return
        yield error
        certificate_error = getattr(error, "certificate_error", None)
        error = certificate_error or error.__cause__ or error.__context__
