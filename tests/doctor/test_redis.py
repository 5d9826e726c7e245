"""Redis: strange, full, a replica, forgetful; and nobody who listens."""

import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as client_library

from app.adapters.redis.connections import ANSWER_TIMEOUT_S
from app.adapters.redis.installations import KEY, RECENT_S
from app.adapters.redis.queue import QUEUE_NAME, health_check_key, open_queue
from app.config import Settings
from app.database.connections import create_engine
from app.database.database import Database
from app.doctor import redis as redis_check
from app.doctor.findings import Status
from app.exports.queue.installation import installation_name, register_installation
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox
from devstack.service_processes import ROOT
from tests.doctor.installation import Installation, failed, found, warned
from tests.proxy import Delay, open_proxy


async def test_a_redis_that_is_slow_is_not_called_unavailable(
    installation: Installation, redis_url: str
) -> None:
    """On a busy machine an answer may take longer than the service waits for one."""
    parts = urlsplit(redis_url)
    async with open_proxy("127.0.0.1", parts.port or 0) as proxy:
        installation.change(REDIS_URL=redis_url.replace(f":{parts.port}", f":{proxy.port}"))
        slow = proxy.fault(Delay(ANSWER_TIMEOUT_S + 0.5), on=b"INFO", times=1)
        findings = await installation.run_checks(redis_check.CHECK)
    assert slow.struck == 1
    assert failed(findings) == []


@pytest.fixture(scope="module")
def server(sandbox: Sandbox) -> Iterator[RedisServer]:
    """A Redis whose configuration these tests may change."""
    server = RedisServer(sandbox, name="doctors_redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: RedisServer, installation: Installation) -> "Iterator[client_library.Redis]":
    """An administrator of the installation's Redis, which is as it was after the test."""
    installation.change(REDIS_URL=server.url())
    with client_library.Redis.from_url(server.url()) as client:
        before = client.config_get("maxmemory*", "appendonly", "save")
        yield client
        for name in ("maxmemory", "maxmemory-policy", "appendonly", "save"):
            client.config_set(name, before[name])
        client.replicaof("NO", "ONE")
        client.flushall()
        client.acl_deluser("shy")


def run(client: "client_library.Redis", *command: str) -> Any:
    """Run a command as the administrator."""
    return client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's gap


def let_in(installation: Installation, client: "client_library.Redis", *rules: str) -> None:
    """Let the installation use its Redis as a user with some rights."""
    run(client, "ACL", "SETUSER", "shy", "on", ">hush-hush", *rules)
    _, _, address = installation.setting("REDIS_URL").rpartition("@")
    installation.change(REDIS_URL=f"redis://shy:hush-hush@{address}")


LACKING = {
    "channels": (
        ("~*", "+@all", "resetchannels"),
        "&audience-export:wakeups &audience-export:changes",
    ),
    "one channel": (("~*", "+@all", "&audience-export:changes"), "&audience-export:wakeups"),
    "keys": (("&*", "+@all", "~audience-export:*"), "~arq:job:*"),
    "own keys": (("&*", "+@all", "~arq:job:*"), "~audience-export:*"),
    "a command": (("~*", "&*", "+@all", "-getdel"), "+getdel"),
    "all writes": (("~*", "&*", "+@all", "-@write"), "+set +getdel +del +zadd +zrem +psetex"),
    "transactions": (("~*", "&*", "+@all", "-@transaction"), "+multi +exec"),
    "subscribing": (("~*", "&*", "+@all", "-subscribe"), "+subscribe"),
    "asking": (("~*", "&*", "+@all", "-info"), "+info"),
}


@pytest.mark.parametrize(("rules", "missing"), LACKING.values(), ids=LACKING)
async def test_a_right_that_is_missing_is_named(
    installation: Installation, client: "client_library.Redis", rules: tuple[str, ...], missing: str
) -> None:
    let_in(installation, client, *rules)
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == ["redis.rights"]
    finding = found(findings, "redis.rights")
    assert f"The user shy lacks {missing}. Redis says:" in finding.detail
    assert f"ACL SETUSER shy {missing} (" in str(finding.advice)
    run(client, "ACL", "SETUSER", "shy", *missing.split())
    assert failed(await installation.run_checks(redis_check.CHECK)) == []


async def test_the_rights_that_the_page_names_are_enough(
    installation: Installation, client: "client_library.Redis"
) -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    (line,) = re.findall(r"^ +ACL SETUSER audience-export on >PASSWORD (.*)$", page, re.MULTILINE)
    run(client, "ACL", "LOG", "RESET")
    let_in(installation, client, *line.split())
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == []
    refused = run(client, "ACL", "LOG")
    assert {entry[b"object"] for entry in refused} <= {b"config|get"}


async def test_a_key_of_somebody_else_in_the_queue_s_place_is_told_of(
    installation: Installation, client: "client_library.Redis"
) -> None:
    client.set(QUEUE_NAME, "theirs")
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == ["redis"]
    assert "another type" in found(findings, "redis").detail


async def test_a_policy_that_evicts_jobs_is_a_failure(
    installation: Installation, client: "client_library.Redis"
) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    findings = await installation.run_checks()
    assert failed(findings) == ["redis.eviction"]
    assert "allkeys-lru" in found(findings, "redis.eviction").detail


async def test_a_wrong_password_is_no_outage(
    installation: Installation, server: RedisServer
) -> None:
    installation.change(REDIS_URL=server.url().replace(server.password, "hush-hush"))
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == ["redis"]
    assert "refuses the login" in found(findings, "redis").detail


async def test_a_replica_takes_no_jobs(
    installation: Installation, client: "client_library.Redis"
) -> None:
    client.replicaof("127.0.0.1", "9")
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == ["redis"]
    assert "read-only replica" in found(findings, "redis").detail


async def test_a_full_redis_takes_no_jobs(
    installation: Installation, client: "client_library.Redis"
) -> None:
    client.config_set("maxmemory", "1")
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == ["redis"]
    assert "out of memory" in found(findings, "redis").detail


def used_bytes(client: "client_library.Redis") -> int:
    """Return how much memory the server uses."""
    info: Any = client.info("memory")
    return int(info["used_memory"])


async def test_a_redis_that_is_nearly_full_is_warned_of(
    installation: Installation, client: "client_library.Redis"
) -> None:
    client.setrange("ballast", 20_000_000, b"x")  # beside it, a connection's buffers are nothing
    client.config_set("maxmemory", int(used_bytes(client) / 0.95))
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == []
    assert "redis.memory" in warned(findings)


async def test_snapshots_are_persistence_too_and_nothing_is_none(
    installation: Installation, client: "client_library.Redis"
) -> None:
    client.config_set("appendonly", "no")
    assert "redis.persistence" in warned(await installation.run_checks(redis_check.CHECK))
    client.config_set("save", "3600 1")
    assert "redis.persistence" not in warned(await installation.run_checks(redis_check.CHECK))


async def test_where_configuration_is_secret_persistence_is_unknown(
    installation: Installation, client: "client_library.Redis"
) -> None:
    client.config_set("appendonly", "no")
    let_in(installation, client, "~*", "&*", "+@all", "-config")
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == []
    assert "does not report" in found(findings, "redis.persistence").detail


async def test_a_worker_that_listens_is_seen(
    installation: Installation, client: "client_library.Redis"
) -> None:
    assert warned(await installation.run_checks(redis_check.CHECK)) == ["worker"]
    client.set(health_check_key("small"), "j_complete=0", ex=60)
    findings = await installation.run_checks(redis_check.CHECK)
    assert warned(findings) == ["worker"]
    assert "large lane" in found(findings, "worker").detail
    client.set(health_check_key("large"), "j_complete=0", ex=60)
    assert warned(await installation.run_checks(redis_check.CHECK)) == []


async def test_another_installation_in_the_same_redis_is_warned_of(
    installation: Installation, client: "client_library.Redis", database_url: str
) -> None:
    async with open_queue(Settings()) as queue:
        database = Database(create_engine(database_url, pool_size=1))
        await register_installation(database, queue)
        await database.close()
        assert "redis.shared" not in warned(await installation.run_checks(redis_check.CHECK))
        await queue.register(installation_name("another/1"))
    finding = found(await installation.run_checks(redis_check.CHECK), "redis.shared")
    assert finding.status is Status.WARNING
    client.zadd(KEY, {installation_name("another/1"): time.time() - RECENT_S - 1})
    assert "redis.shared" not in warned(await installation.run_checks(redis_check.CHECK))
    assert client.zcard(KEY) == 1


async def test_without_a_database_the_rest_of_redis_is_checked(
    installation: Installation, client: "client_library.Redis"
) -> None:
    installation.change(DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    findings = await installation.run_checks(redis_check.CHECK)
    assert failed(findings) == []
    assert "redis.shared" not in {finding.check for finding in findings}


async def test_no_key_stays_behind(
    installation: Installation, client: "client_library.Redis"
) -> None:
    await installation.run_checks(redis_check.CHECK)
    assert client.keys("*") == []
