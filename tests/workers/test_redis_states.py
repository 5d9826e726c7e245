"""In any state of Redis, a request is accepted at once, and its export done in seconds."""

import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import httpx
import pytest
import redis
from arq.constants import in_progress_key_prefix, job_key_prefix

from app.adapters.redis.installations import KEY
from app.adapters.redis.queue import QUEUE_NAME, health_check_key, queue_name
from app.exports.queue.lanes import LANES
from devstack import settings as stack_settings
from devstack import tokens
from devstack.postgres import PostgresServer
from devstack.redis import RedisServer
from devstack.s3 import MotoServer
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service_processes import ROOT, START_TIMEOUT_S, spawn, start_api
from devstack.smtp import SmtpServer
from tests.polling import HANGS_S

WITHIN_S = HANGS_S
"""An export is done so long after its request, in any state of Redis."""

ACCEPTED_S = HANGS_S
"""A request is answered within this; on a quiet machine within a second."""

MOODS = 3
"""A state of Redis is logged once for each error that it causes."""

numbers = count(1)


@dataclass
class Service:
    """An API and workers on a Redis whose state tests change."""

    sandbox: Sandbox
    redis: RedisServer
    settings: dict[str, str]
    processes: list[Process] = field(default_factory=list)
    port: int = 0

    def start(self) -> None:
        """Start an API and a worker while all is well."""
        self.port, number = free_port(), next(numbers)
        api = start_api(self.sandbox, self.settings, self.port, name=f"redis-api-{number}")
        worker = spawn(self.sandbox, f"redis-worker-{number}", self.settings, "workers")
        self.processes = [api, worker]
        worker.wait_until(lambda: "worker started" in worker.log.read_text(), START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop both, however they are."""
        for process in self.processes:
            process.kill()
        self.processes.clear()

    def run(self, *command: str | int) -> Any:
        """Run a command as the administrator of Redis."""
        with redis.Redis.from_url(self.redis.url()) as client:
            return client.execute_command(*command)

    def heal(self) -> None:
        """Put Redis back in order."""
        self.run("CONFIG", "SET", "maxmemory", "0")
        self.run("CONFIG", "SET", "replica-serve-stale-data", "yes")
        self.run("REPLICAOF", "NO", "ONE")
        self.run("ACL", "SETUSER", "default", "allchannels", "+@all")
        self.run("FLUSHALL")

    def export(self) -> float:
        """Ask for an export, wait until it has succeeded, and return how long that took."""
        with self._client() as client:
            began = time.monotonic()
            owner = {"seller_id": next(numbers), "recipient_email": "owner@example.com"}
            answer = client.post("/exports", json={"follower": True, **owner})
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            assert time.monotonic() - began < ACCEPTED_S
            while (
                status := client.get(answer.headers["location"]).json()["status"]
            ) != "succeeded":
                assert time.monotonic() - began < WITHIN_S, (status, self.worker.log_tail())
                time.sleep(0.05)
            return time.monotonic() - began

    def readiness(self) -> dict[str, str]:
        """Return what /readyz says of each dependency."""
        with self._client() as client:
            checks: dict[str, str] = client.get("/readyz").json()["checks"]
            return checks

    def wait_until_queue_is_reachable(self) -> None:
        """Wait until /readyz says so: on a busy machine a check may exceed its time limit."""
        api, _ = self.processes
        api.wait_until(lambda: self.readiness()["queue"] == "reachable", HANGS_S)

    def count_logged(self, event: str) -> int:
        """Return how often the worker has logged an event."""
        return self.worker.log.read_text().count(event)

    @property
    def worker(self) -> Process:
        """The worker's process."""
        return self.processes[1]

    def _client(self) -> httpx.Client:
        token = tokens.demo_tokens(self.settings)["SERVICE_TOKEN"]
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"authorization": f"Bearer {token}"},
            timeout=30,
        )


@pytest.fixture(scope="module")
def servers(
    sandbox: Sandbox,
    postgres: PostgresServer,
    migrated_template: str,
    moto: MotoServer,
    session_smtp_server: SmtpServer,
) -> Iterator[Service]:
    """A Redis, a database and a bucket of this module's own."""
    own = RedisServer(sandbox, name="shaky-redis")
    own.start()
    url = postgres.create_database("redis_states", template=migrated_template)
    settings = stack_settings.service_settings() | stack_settings.store_settings(moto.store())
    settings |= {"DATABASE_URL": url, "REDIS_URL": own.url(), "SMTP_URL": session_smtp_server.url}
    settings |= {"PUBLIC_URL": "http://127.0.0.1:9"}
    yield Service(sandbox, own, stack_settings.with_defaults(settings, {}))
    own.kill()
    postgres.drop_database("redis_states")


@pytest.fixture(scope="module")
def running(servers: Service) -> Iterator[Service]:
    """The API and one worker, which these tests share."""
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    """The API and an idle worker, all well before and after."""
    yield running
    running.heal()
    running.export()


def test_redis_is_stopped(service: Service) -> None:
    service.redis.stop()
    try:
        for _ in range(3):
            service.export()
        assert service.readiness()["queue"] == "unreachable"
    finally:
        service.redis.start()


def test_redis_hangs(service: Service) -> None:
    os.kill(service.redis.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            service.export()
        assert service.readiness()["queue"] == "unreachable"
    finally:
        os.kill(service.redis.pid, signal.SIGCONT)


def test_redis_is_full(service: Service) -> None:
    service.run("CONFIG", "SET", "maxmemory", "1")
    for _ in range(3):
        service.export()
    assert service.readiness()["queue"] == "unreachable"


@pytest.mark.parametrize("serve_stale_data", ["yes", "no"], ids=["READONLY", "MASTERDOWN"])
def test_redis_was_demoted_behind_its_connections(service: Service, serve_stale_data: str) -> None:
    service.run("CONFIG", "SET", "replica-serve-stale-data", serve_stale_data)
    before = service.count_logged("queue connection lost")
    service.run("REPLICAOF", "127.0.0.1", "9")
    for _ in range(3):
        service.export()
    assert service.readiness()["queue"] == "unreachable"
    assert service.count_logged("queue connection lost") - before <= MOODS


def test_the_user_may_do_nothing_at_all(service: Service) -> None:
    before = service.count_logged("queue connection lost")
    service.run("ACL", "SETUSER", "admin", "on", ">admin", "allkeys", "+@all")
    service.run("ACL", "SETUSER", "default", "-@all", "+auth", "+ping")
    try:
        for _ in range(3):
            service.export()
        assert service.readiness()["queue"] == "unreachable"
        assert service.count_logged("queue connection lost") - before <= MOODS
    finally:
        with redis.Redis(port=service.redis.port, username="admin", password="admin") as client:
            client.execute_command("ACL", "SETUSER", "default", "+@all")


def test_redis_is_emptied_all_the_time(service: Service) -> None:
    for _ in range(5):
        service.run("FLUSHALL")
        service.export()


def test_redis_holds_ten_thousand_entries_of_others(service: Service) -> None:
    for lane in LANES:
        entries = [each for number in range(10_000) for each in ("0", f"foreign-{number}")]
        service.run("ZADD", queue_name(lane), *entries)
    service.export()


def test_a_queue_s_key_holds_something_else(service: Service) -> None:
    for lane in LANES:
        service.run("SET", queue_name(lane), "theirs")
    service.export()


def test_jobs_of_more_than_a_hundred_dead_workers_are_left(service: Service) -> None:
    """As workers before this one left them: marked as taken, and on the queue."""
    with redis.Redis.from_url(service.redis.url()) as client:
        for number in range(140):
            client.set(f"{in_progress_key_prefix}dead-{number}", "1", ex=14_710)
            client.set(f"{job_key_prefix}dead-{number}", "{}")
            client.zadd(QUEUE_NAME, {f"dead-{number}": number})
    service.export()


def test_the_user_may_use_no_channels(service: Service) -> None:
    service.run("ACL", "SETUSER", "default", "resetchannels")
    before = service.count_logged("wake-ups refused")
    for _ in range(3):
        service.export()
    service.wait_until_queue_is_reachable()
    service.worker.wait_until(lambda: service.count_logged("wake-ups refused") > before, HANGS_S)
    assert service.count_logged("wake-ups refused") - before == 1


def test_the_rights_that_the_page_names_are_enough(servers: Service) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    (line,) = re.findall(r"^ +(ACL SETUSER \S+ on >PASSWORD .*)$", page, re.MULTILINE)
    servers.run(*line.split())
    servers.run("ACL", "LOG", "RESET")
    own = servers.redis.url(database=1)
    limited = own.replace(f":{servers.redis.password}", "audience-export:PASSWORD")
    service = replace(servers, settings=servers.settings | {"REDIS_URL": limited}, processes=[])
    service.start()
    try:
        service.export()
        service.wait_until_queue_is_reachable()
        with redis.Redis.from_url(own) as client:

            def only_health_checks_are_left() -> bool:
                left = {key.decode() for key in client.scan_iter()} - {KEY}
                return left == {*map(health_check_key, LANES)}

            # A poll may have claimed the export before the worker read its queue the first time.
            service.worker.wait_until(only_health_checks_are_left, HANGS_S)
        assert servers.run("ACL", "LOG") == []
    finally:
        service.stop()
