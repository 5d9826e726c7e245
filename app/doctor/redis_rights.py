"""Whether the Redis user may use every command, key and channel that the service uses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from app.adapters.redis.pubsub import CHANNEL
from app.adapters.redis.queue import (
    JOB_KEYS,
    OWN_KEYS,
    PROBE,
    WAKEUP_CHANNEL,
    health_check_key,
    queue_name,
)
from app.doctor.findings import CheckResult, failure, ok
from app.exports.queue.lanes import LANES

DOCUMENTATION = "docs/settings.md, Redis rights"

CONFIRMED_WITHIN_S = 10.0
"""How long a busy Redis may take to confirm a subscription."""


@dataclass(frozen=True)
class CommandUse:
    """A command that the service sends, here with arguments that change nothing.

    ``keys`` is the ACL pattern of its key, or its channel. ``fails`` is true where
    Redis answers with an error even to a user who has the right.
    """

    command: tuple[str, ...]
    keys: str = ""
    fails: bool = False

    def missing(self, error: ResponseError) -> str:
        """Return the ACL rule that the user lacks."""
        if "channel" in str(error):
            return f"&{self.keys}"
        return f"~{self.keys}" if " key" in str(error) else f"+{self.command[0].lower()}"


def uses() -> list[CommandUse]:
    """Return the commands of the API and the worker, except subscriptions."""
    job = JOB_KEYS.replace("*", PROBE)
    shared = [
        CommandUse(("PING",)),
        CommandUse(("INFO", "memory")),
        CommandUse(("SET", job, "", "PX", "1", "XX"), JOB_KEYS),
        CommandUse(("GETDEL", job), JOB_KEYS),
        CommandUse(("DEL", OWN_KEYS.replace("*", "probe")), OWN_KEYS),
        CommandUse(("MULTI",)),
        CommandUse(("EXEC",), fails=True),
        CommandUse(("PUBLISH", WAKEUP_CHANNEL, ""), WAKEUP_CHANNEL),
        CommandUse(("PUBLISH", CHANNEL, ""), CHANNEL),
    ]
    return shared + [use for lane in LANES for use in _lane_uses(lane)]


def _lane_uses(lane: Any) -> list[CommandUse]:
    queue, health = queue_name(lane), health_check_key(lane)
    return [
        CommandUse(("ZADD", queue, "XX", "0", PROBE), OWN_KEYS),
        CommandUse(("ZRANGEBYSCORE", queue, "-inf", "+inf", "LIMIT", "0", "0"), OWN_KEYS),
        CommandUse(("ZREM", queue, PROBE), OWN_KEYS),
        CommandUse(("ZCARD", queue), OWN_KEYS),
        CommandUse(("EXISTS", health), OWN_KEYS),
        CommandUse(("PSETEX", health, "0", ""), OWN_KEYS, fails=True),
    ]


async def refused_uses(client: Redis) -> dict[CommandUse, ResponseError]:
    """Try every command and subscription; return the refused ones with their errors.

    Raises:
        RedisError, OSError, TimeoutError: Redis is unavailable, or refuses the login.
    """
    refused: dict[CommandUse, ResponseError] = {}
    # One connection for all: EXEC ends the MULTI before it.
    async with client.client() as connection:
        for use in uses():
            try:
                await connection.execute_command(*use.command)  # type: ignore[no-untyped-call]  # redis-py's gap
            except ResponseError as error:
                # The exact type: a subclass, as NoPermissionError is, means a refusal.
                if not use.fails or type(error) is not ResponseError:
                    refused[use] = error
    for channel in (WAKEUP_CHANNEL, CHANNEL):
        try:
            await _subscribe(client, channel)
        except NoPermissionError as error:
            refused[CommandUse(("SUBSCRIBE", channel), channel)] = error
    return refused


async def _subscribe(client: Redis, channel: str) -> None:
    async with client.pubsub() as subscription:
        await subscription.subscribe(channel)
        # subscribe() only sends; a refusal comes with the reply.
        if await subscription.get_message(timeout=CONFIRMED_WITHIN_S) is None:
            raise RedisError("A subscription was not confirmed.")


def lacks_right(error: ResponseError) -> bool:
    """Return whether a right is missing; for EXEC, Redis reports it within another error."""
    return isinstance(error, NoPermissionError) or "NOPERM" in str(error)


def rights(url: str, refused: Sequence[tuple[CommandUse, ResponseError]]) -> CheckResult:
    """Return the finding about the user of ``url``, with missing rights as ACL SETUSER rules."""
    missing = {
        use.missing(error): str(error) for use, error in reversed(refused) if lacks_right(error)
    }
    if not missing:
        return ok("redis.rights", "The user has every right that the service needs.")
    rules = " ".join(reversed(missing))
    user = urlsplit(url).username or "default"
    detail = f"The user {user} lacks {rules}. Redis says: {' '.join(reversed(missing.values()))}."
    return failure("redis.rights", detail, f"ACL SETUSER {user} {rules} ({DOCUMENTATION})")
