"""Redis: the queue; and whether any worker subscribes to wake-ups."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from app.adapters.redis import installations
from app.adapters.redis.connections import redis_errors, redis_pool, require_single_server
from app.adapters.redis.queue import health_check_key
from app.config import Settings
from app.doctor.database import diagnostic_connection
from app.doctor.findings import Check, CheckResult, Status, failure, ok, warning
from app.doctor.redis_rights import lacks_right, refused_uses, rights
from app.errors import DatabaseUnavailable
from app.exports.queue.installation import IDENTITY, installation_name
from app.exports.queue.lanes import LANES

VERSION_MIN = (6, 2)
FULL = 0.9
ADVICE = "start Redis, or fix REDIS_URL"

# Longer than the service waits: slow on a busy machine is not away.
TIMEOUT_S = 10.0


async def check(settings: Settings) -> list[CheckResult]:
    """Return the findings about Redis and the workers.

    Raises:
        QueueUnavailable: Redis is unavailable.
    """
    pool = redis_pool(settings.redis_url, TIMEOUT_S)
    try:
        with redis_errors():
            return await _check(Redis(connection_pool=pool), settings)
    finally:
        await pool.aclose()


CHECK = Check("redis", check, ADVICE)


async def _check(client: Redis, settings: Settings) -> list[CheckResult]:
    try:
        await require_single_server(client)
        refused = list((await refused_uses(client)).items())
    except (AuthenticationError, NoPermissionError) as error:
        detail = f"Redis refuses the login, or this user may not use it: {error}."
        return [failure("redis", detail, "fix the user and password in REDIS_URL, or its ACL")]
    except ResponseError as error:
        return [
            failure("redis", f"Redis cannot be used: {error}.", "set REDIS_URL to another server")
        ]
    rights_finding = rights(settings.redis_url, refused)
    others = [error for _, error in refused if not lacks_right(error)]
    if others:
        advice = "set REDIS_URL to the primary, raise maxmemory, or free disk space"
        return [failure("redis", _refusal(others[0]), advice), rights_finding]
    if rights_finding.status is Status.FAILURE:
        return [rights_finding]
    # After the rights: INFO may be what the user lacks.
    info: Mapping[str, Any] = await client.info()
    return [
        _version(info),
        rights_finding,
        await _persistence(client, info),
        _eviction(info),
        _memory(info),
        *await _shared(client, settings),
        await _worker(client),
    ]


def _refusal(error: ResponseError) -> str:
    """Return the reason of a refused write as a sentence."""
    if isinstance(error, ReadOnlyError):
        return "Redis is a read-only replica."
    if isinstance(error, OutOfMemoryError):
        return "Redis is out of memory and refuses writes."
    if str(error).startswith("MISCONF"):
        return "Redis cannot write to its disk and refuses writes."
    if str(error).startswith("WRONGTYPE"):
        return "A key of the queue has another type: another program wrote it. Delete that key."
    return "Redis refuses writes."


def _version(info: Mapping[str, Any]) -> CheckResult:
    name, version = "Redis", str(info.get("redis_version", "0"))
    if "valkey_version" in info:
        name, version = "Valkey", str(info["valkey_version"])
    detail = f"{name} {version} answers and accepts writes."
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < VERSION_MIN:
        return warning("redis", detail, "upgrade it: this version is not tested")
    return ok("redis", detail)


async def _persistence(client: Redis, info: Mapping[str, Any]) -> CheckResult:
    """Return whether the queue survives a restart; only CONFIG GET shows snapshots."""
    name = "redis.persistence"
    if info.get("aof_enabled"):
        if info.get("aof_last_write_status", "ok") != "ok":
            return failure(name, "The append-only file cannot be written.", "check its disk")
        return ok(name, "The append-only file is on.")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return warning(name, "The last snapshot failed.", "check Redis' disk and log")
    try:
        saves = (await client.config_get("save")).get("save")
    except RedisError:
        detail = "The append-only file is off, and Redis does not report whether snapshots are on."
        return warning(name, detail, "make sure that persistence is on")
    if saves:
        return ok(name, "Snapshots are on.")
    detail = "Persistence is off: after a restart, recovery re-enqueues every queued export."
    return warning(name, detail, "set appendonly yes")


def _eviction(info: Mapping[str, Any]) -> CheckResult:
    name = "redis.eviction"
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "unknown":
        detail = "Redis does not report its eviction policy."
        return warning(name, detail, "make sure that maxmemory-policy is noeviction")
    if policy == "noeviction":
        return ok(name, "Nothing is evicted.")
    detail = f"The eviction policy is {policy}, which may evict jobs."
    return failure(name, detail, "set maxmemory-policy noeviction; do not share Redis with a cache")


def _memory(info: Mapping[str, Any]) -> CheckResult:
    name = "redis.memory"
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not limit:
        return ok(name, f"{used:,} bytes are used; there is no limit.")
    detail = f"{used / limit:.0%} of its memory is used."
    if used < FULL * limit:
        return ok(name, detail)
    return warning(name, detail, "raise maxmemory; full, Redis refuses new jobs")


async def _shared(client: Redis, settings: Settings) -> list[CheckResult]:
    """Return whether workers of another database use this Redis; nothing without a database."""
    try:
        async with diagnostic_connection(settings.database_url) as connection:
            [row] = await connection.fetch(IDENTITY)
    except DatabaseUnavailable:
        return []
    if await installations.recent(client) - {installation_name(row["identity"])}:
        detail = "Workers of another installation, with another database, use this Redis database."
        advice = "give each another number (redis://…/1): they take each other's wake-ups"
        return [warning("redis.shared", detail, advice)]
    return [ok("redis.shared", "No other installation uses this Redis database.")]


async def _worker(client: Redis) -> CheckResult:
    unserved = [lane for lane in LANES if not await client.exists(health_check_key(lane))]
    if not unserved:
        return ok("worker", "A worker consumes both lanes.")
    detail = "No worker is running: exports stay queued and mails pending."
    if len(unserved) < len(LANES):
        detail = f"No worker consumes the {unserved[0]} lane: its exports stay queued."
    return warning(
        "worker", detail, "start one with python -m workers, or restart the one that runs"
    )
