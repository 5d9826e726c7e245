"""The real processes of a run of chaos: servers, API, two workers, and proxies between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devstack import settings as stack_settings
from devstack import tokens
from devstack.migrate import migrate
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer, Store
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service_processes import ROOT, spawn, start_api
from devstack.smtp import SmtpServer
from tests.proxy import Proxy, open_proxy
from tests.roles import Role, create_role

WORKERS = 2
UNLIMITED = {
    "MAX_ACTIVE_EXPORTS_PER_SELLER": "1000",
    "MAX_EXPORTS_PER_SELLER_PER_HOUR": "100000",
    "PART_BYTES": str(5 * 1024 * 1024),
}


@dataclass
class Worker:
    """A worker that may be killed: its current process, and its unexpected exits.

    ``root`` is the checkout that the next process runs, ``alone`` is held by who ends and starts
    processes, and ``pids`` says which checkout each process so far has run.
    """

    environment: "Environment"
    name: str
    root: Path
    process: Process | None = None
    ended_by_itself: list[str] = field(default_factory=list)
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    pids: dict[int, Path] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        """The process id of the running worker."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, without waiting until it consumes the queue."""
        self.note_end()
        self.process = spawn(
            self.environment.sandbox,
            self.name,
            self.environment.service_settings,
            "workers",
            root=self.root,
        )
        self.pids[self.pid] = self.root

    def note_end(self) -> None:
        """Record an exit that no fault caused."""
        if self.process is not None and self.process.exit_status is not None:
            self.ended_by_itself.append(self.process.log_tail())
            self.process.kill()
            self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        self.note_end()
        if self.process is not None:
            self.process.kill()
            self.process = None

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self.note_end()
        if self.process is not None:
            self.process.stop()
            self.process = None


@dataclass
class Environment:
    """Everything that runs; the service uses ``settings``, with ``role`` as its database role."""

    sandbox: Sandbox
    postgres: PostgresServer
    redis: RedisServer
    store: Store
    smtp: SmtpServer
    s3_proxy: Proxy
    smtp_proxy: Proxy
    settings: dict[str, str]
    role: Role
    api_root: Path = ROOT
    api_url: str = ""
    workers: list[Worker] = field(default_factory=list)
    _api: Process | None = None

    @property
    def api(self) -> Process:
        """The API that serves."""
        assert self._api is not None
        return self._api

    @property
    def service_settings(self) -> dict[str, str]:
        """The settings of the service's processes."""
        return self.settings | {"DATABASE_URL": self.role.url}

    @property
    def token(self) -> str:
        """A token for every seller."""
        return tokens.demo_tokens(self.settings)["SERVICE_TOKEN"]

    def serve(self, root: Path, port: int | None = None) -> None:
        """Start the API of a checkout, direct requests to it, and stop the one before."""
        port = port or free_port()
        before = self._api
        self._api = start_api(
            self.sandbox, self.service_settings, port, name=f"api-{port}", root=root
        )
        self.api_root, self.api_url = root, f"http://127.0.0.1:{port}"
        if before is not None:
            before.stop()

    def add_worker(self, root: Path = ROOT) -> Worker:
        """Start another worker, of a checkout."""
        worker = Worker(self, f"worker-{len(self.workers) + 1}", root)
        worker.start()
        self.workers.append(worker)
        return worker

    def stop_service(self) -> None:
        """Stop the workers and the API."""
        while self.workers:
            self.workers.pop().stop()
        self.api.stop()
        self._api = None

    def api_errors(self) -> str:
        """Return the lines of the API's log that have an error, with its trace."""
        lines = self.api.log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if '"level": "error"' in line)

    def logs(self) -> str:
        """Return the logs of all workers."""
        return "".join(
            (self.sandbox.path / f"{worker.name}.log").read_text(errors="replace")
            for worker in self.workers
        )


@asynccontextmanager
async def open_environment(
    changes: dict[str, str], root: Path = ROOT
) -> AsyncIterator[Environment]:
    """Start everything, with some of the service's settings changed.

    The schema, the API and the workers are those of the checkout ``root``.
    """
    with Sandbox() as sandbox:
        postgres, redis = PostgresServer(sandbox), RedisServer(sandbox)
        moto, smtp = MotoServer(sandbox), SmtpServer(sandbox)
        for server in (postgres, redis, moto, smtp):
            await asyncio.to_thread(server.start)
        async with (
            open_proxy("127.0.0.1", moto.port) as s3_proxy,
            open_proxy("127.0.0.1", smtp.port) as smtp_proxy,
        ):
            port = free_port()
            store = moto.store()
            settings = {
                **stack_settings.service_settings(),
                **stack_settings.store_settings(store),
                "DATABASE_URL": postgres.create_database("chaos"),
                "REDIS_URL": redis.url(),
                "S3_ENDPOINT_URL": f"http://127.0.0.1:{s3_proxy.port}",
                "SMTP_URL": f"smtp://127.0.0.1:{smtp_proxy.port}",
                "PUBLIC_URL": f"http://127.0.0.1:{port}",
                **UNLIMITED,
                **changes,
            }
            complete = stack_settings.with_defaults(settings, {})
            await asyncio.to_thread(migrate, complete, root=root)
            role = create_role(postgres, complete["DATABASE_URL"])
            environment = Environment(
                sandbox, postgres, redis, store, smtp, s3_proxy, smtp_proxy, complete, role
            )
            await asyncio.to_thread(environment.serve, root, port)
            for _ in range(WORKERS):
                environment.add_worker(root)
            yield environment
