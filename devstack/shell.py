"""The shell's environment variables: report the servers in them, or remove them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from devstack.sandbox import base_environment
from devstack.service_processes import KEEP_LOGS
from devstack.settings import setting_names

ADDRESSES = ("_URL", "_ENDPOINT")
"""The suffixes of settings that hold a server's URL."""

LOCATION = re.compile(r"[a-z0-9+]+://(?:[^@/?#]*@)?([^@/?#]*)(?:/[^@?#]*)?(?:[?#][^@]*)?", re.I)
"""A URL whose password has an unambiguous end; group 1 is the host."""

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
TERMINAL = ("TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")


def servers_taken(outside: Mapping[str, str]) -> str:
    """Return a sentence with every server that the variables ``outside`` set, without passwords."""
    taken = [
        f"{name} ({location(outside[name])})"
        for name in setting_names()
        if name.endswith(ADDRESSES) and outside.get(name)
    ]
    if not taken:
        return "no server is taken from the environment"
    return f"taken from the environment, not started here: {', '.join(taken)}"


def location(address: str) -> str:
    """Return the host of a URL, without anything that may be secret."""
    match = LOCATION.fullmatch(address)
    return match.group(1) if match and match.group(1) else "host not shown"


def forget(home: Path) -> None:
    """Remove every variable that could select a server, from this process and its children.

    ``home`` replaces the user's home, in which libraries look for configuration.
    """
    base = {name: value for name, value in base_environment().items() if name not in CERTIFICATES}
    terminal = {name: os.environ[name] for name in (*TERMINAL, KEEP_LOGS) if name in os.environ}
    os.environ.clear()
    os.environ.update({**terminal, **base, "HOME": str(home)})
