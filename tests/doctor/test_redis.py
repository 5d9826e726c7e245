"""Redis: strange, full, a replica, forgetful; and nobody who listens."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis as client_library

from app.adapters.queue import health_key
from app.doctor import redis as redis_check
from devstack.redis import RedisServer
from devstack.sandbox import Sandbox
from tests.doctor.patient import Patient, failed, found, warned


@pytest.fixture(scope="module")
def server(sandbox: Sandbox) -> Iterator[RedisServer]:
    """A Redis whose configuration these tests may change."""
    server = RedisServer(sandbox, name="doctors_redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: RedisServer, patient: Patient) -> "Iterator[client_library.Redis]":
    """An administrator of the patient's Redis, which is as it was after the test."""
    patient.change(REDIS_URL=server.url())
    with client_library.Redis.from_url(server.url()) as client:
        before = client.config_get("maxmemory*", "appendonly", "save")
        yield client
        for name in ("maxmemory", "maxmemory-policy", "appendonly", "save"):
            client.config_set(name, before[name])
        client.replicaof("NO", "ONE")
        client.flushall()


async def test_a_policy_that_evicts_jobs_is_a_failure(
    patient: Patient, client: "client_library.Redis"
) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    findings = await patient.examine()
    assert failed(findings) == ["redis.eviction"]
    assert "allkeys-lru" in found(findings, "redis.eviction").detail


async def test_a_wrong_password_is_no_outage(patient: Patient, server: RedisServer) -> None:
    patient.change(REDIS_URL=server.url().replace(server.password, "hush-hush"))
    findings = await patient.examine(redis_check.CHECK)
    assert failed(findings) == ["redis"]
    assert "refuses the login" in found(findings, "redis").detail


async def test_a_replica_takes_no_jobs(patient: Patient, client: "client_library.Redis") -> None:
    client.replicaof("127.0.0.1", "9")
    findings = await patient.examine(redis_check.CHECK)
    assert failed(findings) == ["redis"]
    assert "read-only replica" in found(findings, "redis").detail


async def test_a_full_redis_takes_no_jobs(patient: Patient, client: "client_library.Redis") -> None:
    client.config_set("maxmemory", "1")
    findings = await patient.examine(redis_check.CHECK)
    assert failed(findings) == ["redis"]
    assert "full" in found(findings, "redis").detail


def used_bytes(client: "client_library.Redis") -> int:
    """Return how much memory the server uses."""
    info: Any = client.info("memory")
    return int(info["used_memory"])


async def test_a_redis_that_is_nearly_full_is_warned_of(
    patient: Patient, client: "client_library.Redis"
) -> None:
    client.setrange("ballast", 20_000_000, b"x")  # beside it, a connection's buffers are nothing
    client.config_set("maxmemory", int(used_bytes(client) / 0.95))
    findings = await patient.examine(redis_check.CHECK)
    assert failed(findings) == []
    assert "redis.memory" in warned(findings)


async def test_snapshots_are_persistence_too_and_nothing_is_none(
    patient: Patient, client: "client_library.Redis"
) -> None:
    client.config_set("appendonly", "no")
    assert "redis.persistence" in warned(await patient.examine(redis_check.CHECK))
    client.config_set("save", "3600 1")
    assert "redis.persistence" not in warned(await patient.examine(redis_check.CHECK))


async def test_where_configuration_is_secret_persistence_is_unknown(
    patient: Patient, server: RedisServer, client: "client_library.Redis"
) -> None:
    client.config_set("appendonly", "no")
    client.acl_setuser(
        "shy",
        enabled=True,
        passwords=["+hush-hush"],
        keys=["*"],
        categories=["+@all"],
        commands=["-config"],
    )
    patient.change(REDIS_URL=server.url().replace(f":{server.password}", "shy:hush-hush"))
    findings = await patient.examine(redis_check.CHECK)
    assert failed(findings) == []
    assert "does not tell" in found(findings, "redis.persistence").detail


async def test_a_worker_that_listens_is_seen(
    patient: Patient, client: "client_library.Redis"
) -> None:
    assert warned(await patient.examine(redis_check.CHECK)) == ["worker"]
    client.set(health_key("small"), "j_complete=0", ex=60)
    findings = await patient.examine(redis_check.CHECK)
    assert warned(findings) == ["worker"]
    assert "large lane" in found(findings, "worker").detail
    client.set(health_key("large"), "j_complete=0", ex=60)
    assert warned(await patient.examine(redis_check.CHECK)) == []


async def test_no_key_stays_behind(patient: Patient, client: "client_library.Redis") -> None:
    await patient.examine(redis_check.CHECK)
    assert client.keys("*") == []
