"""Redis: the bell's home; and whether anybody listens to the bell."""

from collections.abc import Mapping
from secrets import token_hex
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

from app.adapters.queue import health_key, redis_errors
from app.adapters.redis import redis_pool
from app.config import Settings
from app.doctor.findings import Check, Finding, failure, ok, warning
from app.exports.lanes import LANES

VERSION_MIN = (6, 2)
FULL = 0.9
PROBE_S = 10
"""A probe that could not be removed ends by itself."""

ADVICE = "start Redis, or mend REDIS_URL"


async def examine(settings: Settings) -> list[Finding]:
    """Return what is to be said of the queue.

    Raises:
        QueueUnavailable: Redis is away.
    """
    pool = redis_pool(settings.redis_url)
    try:
        with redis_errors():
            return await _examine(Redis(connection_pool=pool))
    finally:
        await pool.aclose()


CHECK = Check("redis", examine, ADVICE)


async def _examine(client: Redis) -> list[Finding]:
    try:
        info: Mapping[str, Any] = await client.info()
        await _write(client)
    except (AuthenticationError, NoPermissionError):
        detail = "Redis refuses the login, or this user may not use it."
        return [failure("redis", detail, "mend the user and password in REDIS_URL, or its ACL")]
    except ResponseError as error:
        return [
            failure("redis", _refusal(error), "name the primary; raise maxmemory; free its disk")
        ]
    return [
        _version(info),
        await _persistence(client, info),
        _eviction(info),
        _memory(info),
        await _worker(client),
    ]


async def _write(client: Redis) -> None:
    """Write and remove a key: a replica, and a Redis that is full, refuse that only."""
    key = f"audience-export:doctor:{token_hex(8)}"
    await client.set(key, b"", ex=PROBE_S)
    await client.delete(key)


def _refusal(error: ResponseError) -> str:
    """Return what a refused write means."""
    if isinstance(error, ReadOnlyError):
        return "Redis is a read-only replica."
    if isinstance(error, OutOfMemoryError):
        return "Redis is full and takes nothing more."
    if str(error).startswith("MISCONF"):
        return "Redis cannot write to its disk and takes nothing more."
    return "Redis refuses to be written to."


def _version(info: Mapping[str, Any]) -> Finding:
    name, version = "Redis", str(info.get("redis_version", "0"))
    if "valkey_version" in info:
        name, version = "Valkey", str(info["valkey_version"])
    detail = f"{name} {version} answers and takes writes."
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < VERSION_MIN:
        return warning("redis", detail, "nobody tries it with one so old: upgrade it")
    return ok("redis", detail)


async def _persistence(client: Redis, info: Mapping[str, Any]) -> Finding:
    """Return whether bells outlive a restart; snapshots are known by CONFIG only."""
    check = "redis.persistence"
    if info.get("aof_enabled"):
        if info.get("aof_last_write_status", "ok") != "ok":
            return failure(check, "The append-only file cannot be written.", "look at its disk")
        return ok(check, "The append-only file is on.")
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return warning(check, "The last snapshot failed.", "look at Redis' disk and log")
    try:
        saves = (await client.config_get("save")).get("save")
    except RedisError:
        detail = "Redis does not tell whether it keeps snapshots; there is no append-only file."
        return warning(check, detail, "see that persistence is on")
    if saves:
        return ok(check, "Snapshots are on.")
    detail = "Nothing is kept over a restart: the sweep then rings for every waiting export."
    return warning(check, detail, "set appendonly yes")


def _eviction(info: Mapping[str, Any]) -> Finding:
    check = "redis.eviction"
    policy = str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return ok(check, "Nothing is evicted.")
    detail = f"The eviction policy is {policy}, by which jobs may vanish."
    return failure(check, detail, "set maxmemory-policy noeviction; share Redis with no cache")


def _memory(info: Mapping[str, Any]) -> Finding:
    check = "redis.memory"
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not limit:
        return ok(check, f"{used:,} bytes are used; there is no limit.")
    detail = f"{used / limit:.0%} of its memory is used."
    if used < FULL * limit:
        return ok(check, detail)
    return warning(check, detail, "raise maxmemory; full, Redis refuses new jobs")


async def _worker(client: Redis) -> Finding:
    deaf = [lane for lane in LANES if not await client.exists(health_key(lane))]
    if not deaf:
        return ok("worker", "A worker listens, to both lanes.")
    detail = "No worker listens: exports stay queued and mails pending."
    if len(deaf) < len(LANES):
        detail = f"No worker listens to the {deaf[0]} lane: its exports stay queued."
    return warning("worker", detail, "start: python -m workers; restart one that is there")
