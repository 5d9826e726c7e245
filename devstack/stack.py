"""The whole service on embedded servers: settings, schema, API and worker."""

from collections.abc import Mapping

from devstack import settings, tokens
from devstack.migrate import migrate
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer, make_bucket
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service import start_api, start_worker
from devstack.smtp import SmtpServer

DATABASE = "audience"
BUCKET = "audience-exports"


class Stack:
    """Servers in ``sandbox`` for every address that ``outside`` does not set.

    ``settings`` holds every setting of the service, ``mailbox`` the folder
    that mails arrive in. The API is to listen on ``port``, or a free one;
    ``PUBLIC_URL`` names it from the start, so that mailed links work as soon
    as an API runs there, whoever starts it. ``postgres``, ``redis``, ``s3``
    and ``smtp`` are ``None`` where ``outside`` names a server.
    """

    def __init__(
        self, sandbox: Sandbox, outside: Mapping[str, str], *, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.api_url = f"http://127.0.0.1:{self.port}"
        self.mailbox = sandbox.folder("mailbox")
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
            ServerFailed: one of them ended or does not answer; the text holds its log.
        """
        addresses = {"PUBLIC_URL": self.api_url, "WORKER_METRICS_PORT": str(free_port())}
        own = settings.of_service() | addresses | self._start_servers()
        mailbox = {"MAILBOX_DIR": str(self.mailbox)}
        self.settings = settings.complete(own, self._outside) | mailbox
        migrate(self.settings)
        if not services_only:
            self.api = start_api(self._sandbox, self.settings, self.port)
            self.worker = start_worker(self._sandbox, self.settings)

    @property
    def children(self) -> list[Process]:
        """The API and the worker, as far as they were started."""
        return [process for process in (self.api, self.worker) if process is not None]

    def exported(self) -> dict[str, str]:
        """Return what an environment file holds: settings, mailbox, tokens and processes."""
        names = self.settings | tokens.of_demo(self.settings)
        if self.api and self.worker:
            pids = {"API_PID": str(self.api.pid), "WORKER_PID": str(self.worker.pid)}
            names |= {"API_URL": self.api_url} | pids
        return names

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
            return settings.of_store(self.s3.store(self._outside.get("S3_BUCKET") or BUCKET))
        if not self._outside.get("S3_BUCKET"):
            make_bucket(BUCKET, self._outside["S3_ENDPOINT_URL"])
        return {"S3_BUCKET": BUCKET}

    def _start_smtp(self) -> dict[str, str]:
        if self._outside.get("SMTP_URL"):
            return {}
        self.smtp = SmtpServer(self._sandbox, mailbox=self.mailbox)
        self.smtp.start()
        return {"SMTP_URL": self.smtp.url}
