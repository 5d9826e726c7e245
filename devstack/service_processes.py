"""Start the API and the worker as processes, as in production."""

import http.client
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from devstack.sandbox import Process, Sandbox

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 60.0
HEALTH_KEYS = "*health-check*"
"""arq's worker writes such a key when it starts to consume a queue."""

KEEP_LOGS = "KEEP_SERVICE_LOGS"
"""The environment variable with a folder in which the logs outlive their sandbox."""


def start_api(
    sandbox: Sandbox,
    settings: Mapping[str, str],
    port: int,
    *,
    name: str = "api",
    root: Path = ROOT,
    options: Sequence[str] = (),
) -> Process:
    """Start ``uvicorn app.main:app`` on the loopback port and wait until it is ready.

    ``options`` are further options of uvicorn.

    Raises:
        ServerFailed: it exited or is not ready in time; the message has the end of its log.
    """
    listen = ("--host", "127.0.0.1", "--port", str(port), "--no-server-header")
    process = spawn(
        sandbox, name, settings, "uvicorn", "app.main:app", *listen, *options, root=root
    )
    process.wait_until(lambda: is_ready(port), START_TIMEOUT_S)
    return process


def start_worker(
    sandbox: Sandbox,
    settings: Mapping[str, str],
    *,
    name: str = "worker",
    root: Path = ROOT,
    module: str = "workers",
) -> Process:
    """Start ``python -m workers``, or a module around it, and wait until it consumes the queue.

    Raises:
        ServerFailed: it exited or is not ready in time; the message has the end of its log.
    """
    with redis.Redis.from_url(settings["REDIS_URL"]) as client:
        before = health(client)
        process = spawn(sandbox, name, settings, module, root=root)
        process.wait_until(lambda: health(client) not in ({}, before), START_TIMEOUT_S)
    return process


def spawn(
    sandbox: Sandbox, name: str, settings: Mapping[str, str], *module: str, root: Path = ROOT
) -> Process:
    """Run a module of the service with ``settings`` only, in a folder without ``.env``.

    ``root`` is the checkout whose code is run.
    """
    process = sandbox.spawn(
        name,
        [sys.executable, "-m", *module],
        environment={**settings, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"},
        folder=sandbox.path,
    )
    if KEEP_LOGS in os.environ:
        keep_logs(process.log, Path(os.environ[KEEP_LOGS]))
    return process


def keep_logs(log: Path, folder: Path) -> None:
    """Hard-link a log into a folder on the same file system, so that new lines appear there too."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / f"{log.parent.name}-{log.name}"
    if not link.exists():
        link.hardlink_to(log)


def health(client: "redis.Redis") -> dict[bytes, object]:
    """Return the health keys of all workers on this Redis with their values."""
    return {key: client.get(key) for key in client.scan_iter(HEALTH_KEYS)}


def is_ready(port: int) -> bool:
    """Return whether ``/readyz`` answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
