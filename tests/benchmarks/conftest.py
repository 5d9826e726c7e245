"""The suite's own servers, each in its own process."""

import sys

import pytest

from devstack.sandbox import Sandbox, free_port, is_listening
from devstack.service_processes import ROOT

START_TIMEOUT_S = 30.0


def start(sandbox: Sandbox, name: str) -> int:
    """Start one of the discarding endpoints and return its port."""
    port = free_port()
    process = sandbox.spawn(
        f"discarding-{name}",
        [sys.executable, "-m", f"benchmarks.stub_servers.{name}", str(port)],
        environment={"PYTHONPATH": str(ROOT)},
    )
    process.wait_until(lambda: is_listening(port), START_TIMEOUT_S)
    return port


@pytest.fixture(scope="session")
def s3_port(sandbox: Sandbox) -> int:
    """The port of a discarding store."""
    return start(sandbox, "s3")


@pytest.fixture(scope="session")
def smtp_port(sandbox: Sandbox) -> int:
    """The port of a discarding mail server."""
    return start(sandbox, "smtp")
