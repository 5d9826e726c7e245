"""The whole service on embedded servers: settings, schema, API and worker."""

import http.client
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

import redis

from devstack import settings, tokens
from devstack.migrate import ROOT, migrate
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer, make_bucket
from devstack.sandbox import Process, Sandbox, free_port
from devstack.smtp import SmtpServer

DATABASE = "audience"
BUCKET = "audience-exports"
START_TIMEOUT_S = 60.0
HEALTH_KEYS = "*health-check*"
"""arq's worker writes one when it begins to listen."""


class Stack:
    """Servers in ``sandbox`` for every address that ``outside`` does not set.

    ``settings`` holds every setting of the service, ``mailbox`` the folder
    that mails arrive in. The API is to listen on ``port``, or a free one;
    ``PUBLIC_URL`` names it from the start, so that mailed links work as soon
    as an API runs there, whoever starts it.
    """

    def __init__(
        self, sandbox: Sandbox, outside: Mapping[str, str], *, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.api_url = f"http://127.0.0.1:{self.port}"
        self.mailbox = sandbox.folder("mailbox")
        self.api: Process | None = None
        self.worker: Process | None = None
        self._sandbox = sandbox
        self._outside = outside
        self.settings: dict[str, str] = {}

    def start(self, *, services_only: bool = False) -> None:
        """Start the servers, migrate, and start the API and a worker unless ``services_only``.

        Raises:
            ServerFailed: one of them ended or does not answer; the text holds its log.
        """
        own = settings.of_service() | {"PUBLIC_URL": self.api_url} | self._start_servers()
        self.settings = settings.complete(own, self._outside)
        migrate(self.settings)
        if not services_only:
            self.start_api()
            self.start_worker()

    def start_api(self) -> None:
        """Start the API and wait until it is ready."""
        listen = ("--host", "127.0.0.1", "--port", str(self.port))
        self.api = self._spawn("api", "uvicorn", "app.main:app", *listen)
        self.api.wait_until(lambda: is_ready(self.api_url), START_TIMEOUT_S)

    def start_worker(self) -> None:
        """Start a worker and wait until it listens."""
        with redis.Redis.from_url(self.settings["REDIS_URL"]) as client:
            before = health(client)
            self.worker = self._spawn("worker", "workers")
            self.worker.wait_until(lambda: health(client) not in ({}, before), START_TIMEOUT_S)

    @property
    def children(self) -> list[Process]:
        """The API and the worker, as far as they were started."""
        return [process for process in (self.api, self.worker) if process is not None]

    def exported(self) -> dict[str, str]:
        """Return what an environment file holds: settings, mailbox, tokens and processes."""
        names = self.settings | {"MAILBOX_DIR": str(self.mailbox)} | tokens.of_demo(self.settings)
        if self.api and self.worker:
            pids = {"API_PID": str(self.api.pid), "WORKER_PID": str(self.worker.pid)}
            names |= {"API_URL": self.api_url} | pids
        return names

    def _start_servers(self) -> dict[str, str]:
        return self._start_postgres() | self._start_redis() | self._start_s3() | self._start_smtp()

    def _start_postgres(self) -> dict[str, str]:
        if self._outside.get("DATABASE_URL"):
            return {}
        server = PostgresServer(self._sandbox)
        server.start()
        return {"DATABASE_URL": server.create_database(DATABASE)}

    def _start_redis(self) -> dict[str, str]:
        if self._outside.get("REDIS_URL"):
            return {}
        server = RedisServer(self._sandbox)
        server.start()
        return {"REDIS_URL": server.url()}

    def _start_s3(self) -> dict[str, str]:
        if not self._outside.get("S3_ENDPOINT_URL"):
            server = MotoServer(self._sandbox)
            server.start()
            return settings.of_store(server.store(self._outside.get("S3_BUCKET") or BUCKET))
        if not self._outside.get("S3_BUCKET"):
            make_bucket(BUCKET, self._outside["S3_ENDPOINT_URL"])
        return {"S3_BUCKET": BUCKET}

    def _start_smtp(self) -> dict[str, str]:
        if self._outside.get("SMTP_URL"):
            return {}
        server = SmtpServer(self._sandbox, mailbox=self.mailbox)
        server.start()
        return {"SMTP_URL": server.url}

    def _spawn(self, name: str, *command: str) -> Process:
        """Start a module of the service away from any ``.env``, with these settings alone."""
        return self._sandbox.spawn(
            name,
            [sys.executable, "-m", *command],
            environment=self.settings | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            folder=self._sandbox.path,
        )


def health(client: "redis.Redis") -> dict[bytes, object]:
    """Return what the workers on this Redis last said of themselves."""
    return {key: client.get(key) for key in client.scan_iter(HEALTH_KEYS)}


def is_ready(api_url: str) -> bool:
    """Return whether the API says that it and what it needs are ready."""
    address = urlsplit(api_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
