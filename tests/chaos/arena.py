"""The real processes of a run of chaos: servers, API, two workers, and proxies between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from devstack import settings as stack_settings
from devstack import tokens
from devstack.migrate import migrate
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer, Store
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service import spawn, start_api
from devstack.smtp import SmtpServer
from tests.proxy import Proxy, open_proxy

WORKERS = 2
UNLIMITED = {
    "MAX_ACTIVE_EXPORTS_PER_SELLER": "1000",
    "MAX_EXPORTS_PER_SELLER_PER_HOUR": "100000",
    "PART_BYTES": str(5 * 1024 * 1024),
}


@dataclass
class Worker:
    """A worker that may be killed: its process now, and what it died of by itself."""

    arena: "Arena"
    name: str
    process: Process | None = None
    ended_by_itself: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """The process id of the worker, which runs."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, without waiting until it listens."""
        self.note_end()
        self.process = spawn(self.arena.sandbox, self.name, self.arena.settings, "workers")

    def note_end(self) -> None:
        """Note it when the process has ended although nobody told it to."""
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
class Arena:
    """Everything that runs; ``settings`` are the service's."""

    sandbox: Sandbox
    postgres: PostgresServer
    redis: RedisServer
    store: Store
    smtp: SmtpServer
    s3_proxy: Proxy
    smtp_proxy: Proxy
    settings: dict[str, str]
    api_url: str
    workers: list[Worker] = field(default_factory=list)

    @property
    def token(self) -> str:
        """A token that may act for every seller."""
        return tokens.of_demo(self.settings)["SERVICE_TOKEN"]

    def logs(self) -> str:
        """Return what all workers wrote."""
        return "".join(
            (self.sandbox.path / f"{worker.name}.log").read_text(errors="replace")
            for worker in self.workers
        )


@asynccontextmanager
async def open_arena(changes: dict[str, str]) -> AsyncIterator[Arena]:
    """Start everything, with some of the service's settings changed."""
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
                **stack_settings.of_service(),
                **stack_settings.of_store(store),
                "DATABASE_URL": postgres.create_database("chaos"),
                "REDIS_URL": redis.url(),
                "S3_ENDPOINT_URL": f"http://127.0.0.1:{s3_proxy.port}",
                "SMTP_URL": f"smtp://127.0.0.1:{smtp_proxy.port}",
                "PUBLIC_URL": f"http://127.0.0.1:{port}",
                **UNLIMITED,
                **changes,
            }
            complete = stack_settings.complete(settings, {})
            await asyncio.to_thread(migrate, complete)
            await asyncio.to_thread(start_api, sandbox, complete, port)
            arena = Arena(
                sandbox,
                postgres,
                redis,
                store,
                smtp,
                s3_proxy,
                smtp_proxy,
                complete,
                f"http://127.0.0.1:{port}",
            )
            for number in range(1, WORKERS + 1):
                worker = Worker(arena, f"worker-{number}")
                worker.start()
                arena.workers.append(worker)
            yield arena
