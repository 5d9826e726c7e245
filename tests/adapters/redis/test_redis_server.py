"""Debian's Redis 7, with TLS only and one user who has the rights that the page names."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import pytest
import redis as client_library

from app.adapters.redis.pubsub import open_export_events
from app.adapters.redis.queue import JOB_NAME, arq_redis, deserialize, open_queue
from app.adapters.redis.wakeups import subscribe_wakeups
from app.doctor import redis as redis_check
from app.errors import QueueUnavailable
from app.ports import ExportJob
from devstack.certificates import Certificate, issue
from devstack.sandbox import Process, Sandbox, free_port
from devstack.service_processes import ROOT
from tests.adapters.settings import settings_with
from tests.polling import until

pytestmark = pytest.mark.redis

USER, PASSWORD = "audience-export", "hush-hush"
START_TIMEOUT_S = 30.0
EXPORT = UUID("0192f000-0000-7000-8000-000000000001")

CONFIGURATION = """\
bind 127.0.0.1
port 0
tls-port {port}
tls-cert-file {certificate.server}
tls-key-file {certificate.server}
tls-ca-cert-file {certificate.authority}
tls-auth-clients {clients}
dir {folder}
appendonly yes
save ""
maxmemory-policy noeviction
user default off
user {user} on >{password} {rules}
"""


@dataclass
class DebianRedis:
    """A running server."""

    port: int
    certificate: Certificate
    process: Process

    def url(self, query: str) -> str:
        """Return its address for the service's user, in database 3."""
        return f"rediss://{USER}:{PASSWORD}@localhost:{self.port}/3?{query}"

    @property
    def trusted(self) -> str:
        """Its address with the authority that vouches for it."""
        return self.url(f"ssl_ca_certs={self.certificate.authority}")

    @property
    def with_client_certificate(self) -> str:
        """The same with a certificate for ourselves."""
        own = self.certificate.server
        return f"{self.trusted}&ssl_certfile={own}&ssl_keyfile={own}"


def rules_of_the_page() -> str:
    """Return the user's rules in the documentation."""
    page = (ROOT / "docs" / "settings.md").read_text()
    (rules,) = re.findall(r"^ +ACL SETUSER \S+ on >PASSWORD (.*)$", page, re.MULTILINE)
    return str(rules)


def start(sandbox: Sandbox, name: str, *, clients: str) -> DebianRedis:
    """Start a server that requires no certificate of its clients, or one."""
    folder, port = sandbox.folder(name), free_port()
    certificate = issue(folder)
    filled = CONFIGURATION.format(
        port=port,
        certificate=certificate,
        clients=clients,
        folder=folder,
        user=USER,
        password=PASSWORD,
        rules=rules_of_the_page(),
    )
    (folder / "redis.conf").write_text(filled)
    process = sandbox.spawn(name, ["redis-server", folder / "redis.conf"], folder=folder)
    server = DebianRedis(port, certificate, process)
    process.wait_until(lambda: answers(server), START_TIMEOUT_S)
    return server


def answers(server: DebianRedis) -> bool:
    """Return whether the server takes commands."""
    try:
        with client_library.Redis.from_url(server.with_client_certificate) as client:
            return bool(client.ping())
    except client_library.ConnectionError:
        return False


@pytest.fixture(scope="module")
def server(sandbox: Sandbox) -> Iterator[DebianRedis]:
    """A server with TLS and one user."""
    server = start(sandbox, "redis-debian", clients="no")
    yield server
    server.process.stop()


async def test_a_job_reaches_the_worker_that_waits(server: DebianRedis) -> None:
    settings = settings_with(redis_url=server.trusted)
    consumer = arq_redis(settings)
    woken = asyncio.Event()

    async def listen() -> None:
        async for lane in subscribe_wakeups(consumer):
            if lane == "small":
                woken.set()

    listening = asyncio.create_task(listen())
    async with open_queue(settings) as queue:
        await queue.check()

        async def is_woken() -> bool:
            await queue.enqueue(ExportJob(1, EXPORT, 1))
            return woken.is_set()

        await until(is_woken)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    job = await consumer.execute_command("GETDEL", f"arq:job:{EXPORT}:1")  # type: ignore[no-untyped-call]  # redis-py's gap
    assert deserialize(job)["f"] == JOB_NAME
    await consumer.aclose(close_connection_pool=True)


async def test_changes_are_published(server: DebianRedis) -> None:
    settings = settings_with(redis_url=server.trusted)
    async with open_export_events(settings) as events, events.subscribe(EXPORT) as changes:

        async def is_seen() -> bool:
            await events.publish(EXPORT)
            await asyncio.wait_for(anext(changes), 5)
            return True

        await until(is_seen)


async def test_the_doctor_is_content_with_it(server: DebianRedis) -> None:
    findings = await redis_check.check(settings_with(redis_url=server.trusted))
    by_name = {finding.check: finding for finding in findings}
    assert by_name["redis"].detail.startswith("Redis 7.")
    assert by_name["redis.rights"].status.value == "ok"
    assert {name for name, each in by_name.items() if each.status.value == "failure"} == set()


async def test_the_authority_may_stand_in_the_environment(
    server: DebianRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(redis_url=server.url(""))
    async with open_queue(settings) as queue:
        with pytest.raises(QueueUnavailable, match="certificate verify failed"):
            await queue.check()
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate.authority))
    async with open_queue(settings) as queue:
        await queue.check()


async def test_a_wrong_password_is_reported_in_the_server_s_words(server: DebianRedis) -> None:
    url = server.trusted.replace(PASSWORD, "another")
    async with open_queue(settings_with(redis_url=url)) as queue:
        with pytest.raises(QueueUnavailable, match="Redis refuses: WRONGPASS"):
            await queue.check()


async def test_a_server_that_wants_a_certificate_of_ours_gets_it(sandbox: Sandbox) -> None:
    server = start(sandbox, "redis-mutual", clients="yes")
    async with open_queue(settings_with(redis_url=server.with_client_certificate)) as queue:
        await queue.check()
    async with open_queue(settings_with(redis_url=server.trusted)) as queue:
        with pytest.raises(QueueUnavailable):
            await queue.check()
    server.process.stop()
