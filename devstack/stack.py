"""The whole service on embedded servers: servers, schema, API and worker."""

from collections.abc import Mapping
from pathlib import Path

from devstack import settings, tokens
from devstack.migrate import migrate
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer, make_bucket
from devstack.sandbox import Process, Sandbox, ServerFailed, free_port, is_free
from devstack.service_processes import start_api, start_worker
from devstack.smtp import SmtpServer

DATABASE = "audience"
BUCKET = "audience-exports"


def _mailbox(sandbox: Sandbox, outside: Mapping[str, str]) -> Path:
    """Return the folder of received mail: ``MAILBOX_DIR`` where it is set, else a new one."""
    if not outside.get("MAILBOX_DIR"):
        return sandbox.folder("mailbox")
    folder = Path(outside["MAILBOX_DIR"]).absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


class Stack:
    """The stack: embedded servers for every URL that the variables ``outside`` do not set.

    ``settings`` are the service's settings, complete after ``start``;
    ``mailbox`` is the folder of received mail. The API listens on ``port``, or a
    free one. ``PUBLIC_URL`` has this port even with ``services_only``, so that
    mailed links work once an API is started there. ``postgres``, ``redis``,
    ``s3`` and ``smtp`` are ``None`` where ``outside`` names a server.
    """

    def __init__(
        self, sandbox: Sandbox, outside: Mapping[str, str], *, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.api_url = f"http://127.0.0.1:{self.port}"
        self.mailbox = _mailbox(sandbox, outside)
        self.postgres: PostgresServer | None = None
        self.redis: RedisServer | None = None
        self.s3: MotoServer | None = None
        self.smtp: SmtpServer | None = None
        self.api: Process | None = None
        self.worker: Process | None = None
        self._sandbox = sandbox
        self._outside = outside
        self.settings: dict[str, str] = {}

    def start(self, *, services_only: bool = False) -> None:
        """Start the servers, migrate, and start the API and a worker unless ``services_only``.

        Raises:
            ServerFailed: one exited or does not answer; the message has the end of its log. Or
                the API's port is taken: the program that has it would seem to be the API.
        """
        if not services_only and not is_free(self.port):
            raise ServerFailed(f"port {self.port} cannot be listened on: choose another --port")
        addresses = {"PUBLIC_URL": self.api_url, "WORKER_METRICS_PORT": str(free_port())}
        own = settings.service_settings() | addresses | self._start_servers()
        mailbox = {"MAILBOX_DIR": str(self.mailbox)}
        self.settings = settings.with_defaults(own, self._outside) | mailbox
        migrate(self.settings)
        if not services_only:
            self.api = start_api(self._sandbox, self.settings, self.port)
            self.worker = start_worker(self._sandbox, self.settings)

    @property
    def children(self) -> list[Process]:
        """The API and the worker, if they were started."""
        return [process for process in (self.api, self.worker) if process is not None]

    def environment(self) -> dict[str, str]:
        """Return the variables of the environment file: settings, mailbox, tokens, processes."""
        variables = self.settings | tokens.demo_tokens(self.settings)
        if self.api and self.worker:
            pids = {"API_PID": str(self.api.pid), "WORKER_PID": str(self.worker.pid)}
            variables |= {"API_URL": self.api_url} | pids
        return variables

    def _start_servers(self) -> dict[str, str]:
        return self._start_postgres() | self._start_redis() | self._start_s3() | self._start_smtp()

    def _start_postgres(self) -> dict[str, str]:
        if self._outside.get("DATABASE_URL"):
            return {}
        self.postgres = PostgresServer(self._sandbox)
        self.postgres.start()
        return {"DATABASE_URL": self.postgres.create_database(DATABASE)}

    def _start_redis(self) -> dict[str, str]:
        if self._outside.get("REDIS_URL"):
            return {}
        self.redis = RedisServer(self._sandbox)
        self.redis.start()
        return {"REDIS_URL": self.redis.url()}

    def _start_s3(self) -> dict[str, str]:
        if not self._outside.get("S3_ENDPOINT_URL"):
            self.s3 = MotoServer(self._sandbox)
            self.s3.start()
            return settings.store_settings(self.s3.store(self._outside.get("S3_BUCKET") or BUCKET))
        if not self._outside.get("S3_BUCKET"):
            make_bucket(BUCKET, self._outside["S3_ENDPOINT_URL"])
        return {"S3_BUCKET": BUCKET}

    def _start_smtp(self) -> dict[str, str]:
        if self._outside.get("SMTP_URL"):
            return {}
        self.smtp = SmtpServer(self._sandbox, mailbox=self.mailbox)
        self.smtp.start()
        return {"SMTP_URL": self.smtp.url}
