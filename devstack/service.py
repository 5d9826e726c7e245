"""The service itself as processes: the API and the worker, started as in production."""

import http.client
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import redis

from devstack.sandbox import Process, Sandbox

ROOT = Path(__file__).parent.parent
START_TIMEOUT_S = 60.0
HEALTH_KEYS = "*health-check*"
"""arq's worker writes one when it begins to listen."""

KEEP_LOGS = "KEEP_SERVICE_LOGS"
"""The variable that names a folder in which the logs of API and worker outlive their sandbox."""


def start_api(
    sandbox: Sandbox, settings: Mapping[str, str], port: int, *, name: str = "api"
) -> Process:
    """Start ``uvicorn app.main:app`` on the loopback port and wait until it is ready.

    Raises:
        ServerFailed: it ended or is not ready in time; the text holds its log.
    """
    listen = ("--host", "127.0.0.1", "--port", str(port), "--no-server-header")
    process = spawn(sandbox, name, settings, "uvicorn", "app.main:app", *listen)
    process.wait_until(lambda: is_ready(port), START_TIMEOUT_S)
    return process


def start_worker(sandbox: Sandbox, settings: Mapping[str, str], *, name: str = "worker") -> Process:
    """Start ``python -m workers`` and wait until it listens.

    Raises:
        ServerFailed: it ended or does not listen in time; the text holds its log.
    """
    with redis.Redis.from_url(settings["REDIS_URL"]) as client:
        before = health(client)
        process = spawn(sandbox, name, settings, "workers")
        process.wait_until(lambda: health(client) not in ({}, before), START_TIMEOUT_S)
    return process


def spawn(sandbox: Sandbox, name: str, settings: Mapping[str, str], *module: str) -> Process:
    """Run a module of the service with ``settings`` alone, away from any ``.env``."""
    process = sandbox.spawn(
        name,
        [sys.executable, "-m", *module],
        environment={**settings, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        folder=sandbox.path,
    )
    if KEEP_LOGS in os.environ:
        keep(process.log, Path(os.environ[KEEP_LOGS]))
    return process


def keep(log: Path, folder: Path) -> None:
    """Link a log, which goes on growing, into a folder on the same file system."""
    kept = folder / f"{log.parent.name}-{log.name}"
    if not kept.exists():
        kept.hardlink_to(log)


def health(client: "redis.Redis") -> dict[bytes, object]:
    """Return what the workers on this Redis last said of themselves."""
    return {key: client.get(key) for key in client.scan_iter(HEALTH_KEYS)}


def is_ready(port: int) -> bool:
    """Return whether the API says that it and what it needs are ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
