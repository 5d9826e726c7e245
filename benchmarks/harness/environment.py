"""The servers of a benchmark run, and the service that uses them."""

import asyncio
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import redis

from app.audience.merge import Merge, header, merge_sql
from app.audience.sources import SOURCES
from benchmarks.datasets.audience import load, load_small
from benchmarks.harness.api_client import ApiClient
from benchmarks.processes.in_process import peak_bytes
from benchmarks.processes.subprocesses import BenchmarkFailed, Measurement
from devstack import tokens
from devstack.postgres import PROGRAMS, WHEEL, PostgresServer, installed
from devstack.redis import RedisServer
from devstack.s3 import MotoServer
from devstack.sandbox import Process, Sandbox, free_port, is_listening
from devstack.service_processes import ROOT, spawn, start_api, start_worker
from devstack.stack import DATABASE, Stack

EMPTY = "empty"
"""An empty, migrated database, used as a template."""

LARGE_SELLERS = 1_000
SMALL_SELLERS = 1_000_000
SMALL_ROWS = 500
ENDPOINT_TIMEOUT_S = 30.0
POLL_S = 0.05
SLOW_S = 0.5
"""Per part; several are uploaded at once."""

BURST = """
    SELECT
        count(*) FILTER (WHERE email_status = 'sent'),
        extract(epoch FROM max(email_sent_at) - min(created_at))
    FROM exports
"""
"""The number of mailed exports, and the seconds from the first request to the last mail."""

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


class Environment:
    """Embedded PostgreSQL and Redis, a store and a mail server that discard, and the service.

    ``settings`` are the service's. Measurements that need a fresh worker restart it
    with :meth:`restart_worker`.
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
        assert stack.redis is not None
        self.postgres: PostgresServer = stack.postgres
        self.redis: RedisServer = stack.redis
        self.postgres.create_database(EMPTY, template=DATABASE)
        self.settings = stack.settings
        self.psql: Path = installed(WHEEL) / PROGRAMS / "psql"
        self.api_port = stack.port
        self.api_pid = start_api(sandbox, self.settings, self.api_port).pid
        self.requests = ApiClient(stack.port, tokens.demo_tokens(self.settings)["SERVICE_TOKEN"])
        self._worker: Process | None = None
        self._sellers: dict[int, int] = {}
        self._small_sellers = 0

    @property
    def database_url(self) -> str:
        """The address of the service's database."""
        return self.settings["DATABASE_URL"]

    def seller(self, rows: int) -> int:
        """Return a seller with this many members, which are loaded on first use."""
        if rows not in self._sellers:
            seller_id = LARGE_SELLERS + len(self._sellers)
            asyncio.run(load(self.database_url, seller_id, rows))
            self._sellers[rows] = seller_id
        return self._sellers[rows]

    def small_sellers(self, count: int) -> range:
        """Return this many sellers with 500 members each."""
        sellers = range(SMALL_SELLERS, SMALL_SELLERS + max(count, self._small_sellers))
        if count > self._small_sellers:
            new = sellers[self._small_sellers :]
            asyncio.run(load_small(self.database_url, new, SMALL_ROWS))
            self._small_sellers = count
        return sellers[:count]

    def restart_worker(self, module: str = "workers", **settings: str) -> Process:
        """Stop the worker and start a new one with these changes to ``settings``.

        ``module`` is what runs it. It has already run one export, so the clients are warm, as in
        production.
        """
        self.stop_worker()
        self._worker = start_worker(self.sandbox, self.settings | settings, module=module)
        self.requests.run_export(self.small_sellers(1)[0])
        return self._worker

    def stop_worker(self) -> None:
        """Stop the worker, for measurements that it would disturb."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def measure_export(
        self, rows: int, options: Mapping[str, str] = MappingProxyType({}), /, **settings: str
    ) -> Measurement:
        """Export a seller's list in a fresh worker; the seconds are from claim to success.

        ``options`` are those of the request, ``settings`` the worker's.
        """
        seller_id = self.seller(rows)
        worker = psutil.Process(self.restart_worker(**settings).pid)
        before = worker.cpu_times()
        export = self.requests.run_export(seller_id, **options)
        after = worker.cpu_times()
        if export.rows != rows:
            raise BenchmarkFailed(f"{export.rows} rows were exported, not {rows}")
        cpu_s = after.user + after.system - before.user - before.system
        return Measurement(export.processing_s, cpu_s, peak_bytes(worker.pid), export.bytes)

    def start_moto(self) -> dict[str, str]:
        """Start the embedded store (moto) and return the worker's settings for it."""
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

    def clear_exports(self) -> None:
        """Delete every export; none may be active."""
        self.query("TRUNCATE exports")

    def clear_queued(self) -> None:
        """Delete the queued exports, while no worker runs."""
        self.query("DELETE FROM exports WHERE status = 'queued'")
        self.query("VACUUM exports")
        with redis.Redis.from_url(self.settings["REDIS_URL"]) as client:
            client.flushdb()

    def wait_for_mails(self, count: int, timeout_s: float) -> float:
        """Wait until this many mails are accepted; return the seconds since the first request.

        Raises:
            BenchmarkFailed: it takes too long.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            mailed, seconds = self.query(BURST).split("|")
            if int(mailed) == count:
                return float(seconds)
            time.sleep(POLL_S)
        raise BenchmarkFailed(f"{mailed} of {count} mails went out within {timeout_s:.0f} s")

    def start_baseline(self) -> int:
        """Start the baseline route in its own uvicorn and return its port."""
        port = free_port()
        listen = ("--host", "127.0.0.1", "--port", str(port))
        process = spawn(
            self.sandbox,
            "bare",
            self.settings,
            "uvicorn",
            "benchmarks.processes.baseline_route:app",
            *listen,
        )
        process.wait_until(lambda: is_listening(port), ENDPOINT_TIMEOUT_S)
        return port

    def alternative_spec(self, seller_id: int) -> dict[str, Any]:
        """Return the spec with which an alternative writes the same file."""
        merge = Merge(seller_id, tuple(source.key for source in SOURCES))
        return {
            "dsn": self.database_url,
            "sqlalchemy_url": self.database_url.replace("://", "+psycopg://", 1),
            "sql": merge_sql(merge),
            "header": header(merge.options).decode(),
            "seller_id": seller_id,
            "s3_url": self.s3_url,
            "bucket": STORE["S3_BUCKET"],
            "key": f"peers/{seller_id}.csv",
        }

    def start_slow_store(self) -> dict[str, str]:
        """Start a store that is slower than the database and return the settings for it."""
        port = self._endpoint("s3", "--delay-s", str(SLOW_S), log="slow-s3")
        return {"S3_ENDPOINT_URL": f"http://127.0.0.1:{port}"}

    def _endpoint(self, name: str, *options: str, log: str | None = None) -> int:
        port = free_port()
        process = self.sandbox.spawn(
            log or name,
            [sys.executable, "-m", f"benchmarks.stub_servers.{name}", str(port), *options],
            environment={"PYTHONPATH": str(ROOT)},
        )
        process.wait_until(lambda: is_listening(port), ENDPOINT_TIMEOUT_S)
        return port
