"""The service on a database of its own, beside the stage's: the same servers, other processes."""

import asyncio
import sys
from types import TracebackType
from typing import Self

from benchmarks.crowd import load_crowd
from benchmarks.requests import Requests
from benchmarks.stage import EMPTY, Stage
from devstack import tokens
from devstack.sandbox import Process, free_port
from devstack.service import ROOT, start_api, start_worker


class Separate:
    """An API and a worker on a crowd of ``members``, with a numbered Redis database."""

    def __init__(self, stage: Stage, name: str, redis_database: int, members: int) -> None:
        self.name = name
        self.members = members
        self._stage = stage
        redis_url = f"{stage.settings['REDIS_URL'].rpartition('/')[0]}/{redis_database}"
        self.url = stage.postgres.create_database(name, template=EMPTY)
        self._settings = stage.settings | {
            "DATABASE_URL": self.url,
            "REDIS_URL": redis_url,
            "WORKER_METRICS_PORT": str(free_port()),
        }
        asyncio.run(load_crowd(self.url, members))
        port = free_port()
        self._processes: list[Process] = [
            start_api(stage.sandbox, self._settings, port, name=f"{name}-api"),
            start_worker(stage.sandbox, self._settings, name=f"{name}-worker"),
        ]
        self.requests = Requests(port, tokens.of_demo(self._settings)["SERVICE_TOKEN"])

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
        """Start writing at a steady rate; the caller stops it."""
        return self._stage.sandbox.spawn(
            f"{self.name}-writer",
            [sys.executable, "-m", "benchmarks.writer", self.url, str(self.members)],
            environment={"PYTHONPATH": str(ROOT)},
        )
