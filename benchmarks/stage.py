"""The servers that everything is measured on, and the service between them."""

import asyncio
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import redis

from app.audience.merge import DEFAULT_COLUMNS, Merge, header, merge_sql
from app.audience.sources import SOURCES
from benchmarks.audience import load, load_small
from benchmarks.jobs import BenchmarkFailed, Run
from benchmarks.measured import peak_bytes
from benchmarks.requests import Requests
from devstack import tokens
from devstack.postgres import PROGRAMS, WHEEL, PostgresServer, installed
from devstack.s3 import MotoServer
from devstack.sandbox import Process, Sandbox, answers, free_port
from devstack.service import ROOT, spawn, start_api, start_worker
from devstack.stack import DATABASE, Stack

EMPTY = "empty"
"""A database at the newest schema without rows, to make others from."""

LARGE_SELLERS = 1_000
SMALL_SELLERS = 1_000_000
SMALL_ROWS = 500
ENDPOINT_TIMEOUT_S = 30.0
POLL_S = 0.05
SLOW_S = 0.5
"""Per part; several are under way at once."""

BURST = """
    SELECT
        count(*) FILTER (WHERE email_status = 'sent'),
        extract(epoch FROM max(email_sent_at) - min(created_at))
    FROM exports
"""
"""How many of the exports there are were mailed, and how long that took from the first request."""

STORE = MappingProxyType(
    {"S3_BUCKET": "bench", "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench-secret"}
)
WITHOUT_QUOTAS = MappingProxyType(
    {
        "MAX_ACTIVE_EXPORTS_PER_SELLER": "1000000",
        "MAX_EXPORTS_PER_SELLER_PER_HOUR": "1000000",
        "MAX_QUEUED_EXPORTS": "1000000",
    }
)


class Stage:
    """Embedded PostgreSQL and Redis, a store and a mail server that discard, the service.

    ``settings`` are the service's; the worker is started anew for each
    measurement that needs it, see :meth:`fresh_worker`.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.smtp_port = self._endpoint("smtp")
        self.s3_url = f"http://127.0.0.1:{self._endpoint('s3')}"
        outside = {
            **STORE,
            **WITHOUT_QUOTAS,
            "S3_ENDPOINT_URL": self.s3_url,
            "SMTP_URL": f"smtp://127.0.0.1:{self.smtp_port}",
        }
        stack = Stack(sandbox, outside)
        stack.start(services_only=True)
        assert stack.postgres is not None
        self.postgres: PostgresServer = stack.postgres
        self.postgres.create_database(EMPTY, template=DATABASE)
        self.settings = stack.settings
        self.psql: Path = installed(WHEEL) / PROGRAMS / "psql"
        self.api_port = stack.port
        self.api_pid = start_api(sandbox, self.settings, self.api_port).pid
        self.requests = Requests(stack.port, tokens.of_demo(self.settings)["SERVICE_TOKEN"])
        self._worker: Process | None = None
        self._sellers: dict[int, int] = {}
        self._small_sellers = 0

    @property
    def database_url(self) -> str:
        """The address of the service's database."""
        return self.settings["DATABASE_URL"]

    def seller(self, rows: int) -> int:
        """Return a seller with so many members; they are loaded when first asked for."""
        if rows not in self._sellers:
            seller_id = LARGE_SELLERS + len(self._sellers)
            asyncio.run(load(self.database_url, seller_id, rows))
            self._sellers[rows] = seller_id
        return self._sellers[rows]

    def small_sellers(self, count: int) -> range:
        """Return so many sellers with 500 members each."""
        sellers = range(SMALL_SELLERS, SMALL_SELLERS + max(count, self._small_sellers))
        if count > self._small_sellers:
            new = sellers[self._small_sellers :]
            asyncio.run(load_small(self.database_url, new, SMALL_ROWS))
            self._small_sellers = count
        return sellers[:count]

    def fresh_worker(self, **settings: str) -> Process:
        """Stop the worker there is and start one, with ``settings`` changed.

        It has done one export: the clients' first-use costs are paid, as in
        production.
        """
        self.stop_worker()
        self._worker = start_worker(self.sandbox, self.settings | settings)
        self.requests.perform(self.small_sellers(1)[0])
        return self._worker

    def stop_worker(self) -> None:
        """Leave the API alone, for what the worker would disturb."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def measure_export(self, rows: int, **settings: str) -> Run:
        """Export a seller's list in a fresh worker; the seconds are from claim to success."""
        seller_id = self.seller(rows)
        worker = psutil.Process(self.fresh_worker(**settings).pid)
        before = worker.cpu_times()
        export = self.requests.perform(seller_id)
        after = worker.cpu_times()
        if export.rows != rows:
            raise BenchmarkFailed(f"{export.rows} rows were exported, not {rows}")
        cpu_s = after.user + after.system - before.user - before.system
        return Run(export.processing_s, cpu_s, peak_bytes(worker.pid), export.bytes)

    def start_moto(self) -> dict[str, str]:
        """Start the embedded store and return the settings that lead the worker to it."""
        moto = MotoServer(self.sandbox, name="moto")
        moto.start()
        store = moto.store()
        return {
            "S3_ENDPOINT_URL": store.endpoint_url,
            "S3_BUCKET": store.bucket,
            "AWS_ACCESS_KEY_ID": store.access_key,
            "AWS_SECRET_ACCESS_KEY": store.secret_key,
        }

    def query(self, sql: str) -> str:
        """Run SQL in the service's database and return what psql prints."""
        return self.postgres.execute(sql, DATABASE)

    def forget_exports(self) -> None:
        """Forget every export; none is under way."""
        self.query("TRUNCATE exports")

    def forget_queued(self) -> None:
        """Forget the exports that wait for a worker, while there is none."""
        self.query("DELETE FROM exports WHERE status = 'queued'")
        self.query("VACUUM exports")
        with redis.Redis.from_url(self.settings["REDIS_URL"]) as client:
            client.flushdb()

    def wait_for_mails(self, count: int, timeout_s: float) -> float:
        """Wait until so many mails are accepted and return the time since the first request.

        Raises:
            BenchmarkFailed: they are not, in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            mailed, seconds = self.query(BURST).split("|")
            if int(mailed) == count:
                return float(seconds)
            time.sleep(POLL_S)
        raise BenchmarkFailed(f"{mailed} of {count} mails went out within {timeout_s:.0f} s")

    def start_bare(self) -> int:
        """Start the bare route in an uvicorn of its own and return its port."""
        port = free_port()
        listen = ("--host", "127.0.0.1", "--port", str(port))
        process = spawn(
            self.sandbox, "bare", self.settings, "uvicorn", "benchmarks.bare:app", *listen
        )
        process.wait_until(lambda: answers(port), ENDPOINT_TIMEOUT_S)
        return port

    def peer_spec(self, seller_id: int) -> dict[str, Any]:
        """Return what a peer needs to know to write the same file."""
        merge = Merge(seller_id, tuple(source.key for source in SOURCES), DEFAULT_COLUMNS)
        return {
            "dsn": self.database_url,
            "sqlalchemy_url": self.database_url.replace("://", "+psycopg://", 1),
            "sql": merge_sql(merge),
            "header": header(merge).decode(),
            "seller_id": seller_id,
            "s3_url": self.s3_url,
            "bucket": STORE["S3_BUCKET"],
            "key": f"peers/{seller_id}.csv",
        }

    def start_slow_store(self) -> dict[str, str]:
        """Start a store slower than the database and return the settings that lead to it."""
        port = self._endpoint("s3", "--delay-s", str(SLOW_S), log="slow-s3")
        return {"S3_ENDPOINT_URL": f"http://127.0.0.1:{port}"}

    def _endpoint(self, name: str, *options: str, log: str | None = None) -> int:
        port = free_port()
        process = self.sandbox.spawn(
            log or name,
            [sys.executable, "-m", f"benchmarks.endpoints.{name}", str(port), *options],
            environment={"PYTHONPATH": str(ROOT)},
        )
        process.wait_until(lambda: answers(port), ENDPOINT_TIMEOUT_S)
        return port
