"""A second instance of the service: its own database and processes on the same servers."""

import asyncio
import sys
from types import TracebackType
from typing import Self

from benchmarks.datasets.skewed_members import load_crowd
from benchmarks.harness.api_client import ApiClient
from benchmarks.harness.environment import EMPTY, Environment
from devstack import tokens
from devstack.sandbox import Process, free_port
from devstack.service_processes import ROOT, start_api, start_worker


class IsolatedService:
    """An API and a worker on a database of ``members`` members, with their own Redis database."""

    def __init__(
        self, environment: Environment, name: str, redis_database: int, members: int
    ) -> None:
        self.name = name
        self.members = members
        self._stage = environment
        redis_url = f"{environment.settings['REDIS_URL'].rpartition('/')[0]}/{redis_database}"
        self.url = environment.postgres.create_database(name, template=EMPTY)
        self._settings = environment.settings | {
            "DATABASE_URL": self.url,
            "REDIS_URL": redis_url,
            "WORKER_METRICS_PORT": str(free_port()),
        }
        asyncio.run(load_crowd(self.url, members))
        port = free_port()
        self._processes: list[Process] = [
            start_api(environment.sandbox, self._settings, port, name=f"{name}-api"),
            start_worker(environment.sandbox, self._settings, name=f"{name}-worker"),
        ]
        self.requests = ApiClient(port, tokens.demo_tokens(self._settings)["SERVICE_TOKEN"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.stop()
        self._stage.postgres.drop_database(self.name)

    def query(self, sql: str) -> str:
        """Run SQL in this database and return what psql prints."""
        return self._stage.postgres.execute(sql, self.name)

    def start_writer(self) -> Process:
        """Start the background writer; the caller stops it."""
        return self._stage.sandbox.spawn(
            f"{self.name}-writer",
            [
                sys.executable,
                "-m",
                "benchmarks.datasets.background_writer",
                self.url,
                str(self.members),
            ],
            environment={"PYTHONPATH": str(ROOT)},
        )
