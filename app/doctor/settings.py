"""Settings that are invalid, or unsuitable for production."""

from urllib.parse import urlsplit

from pydantic import ValidationError

from app.adapters.s3.client import uses_temporary_credentials
from app.adapters.smtp.address import is_loopback
from app.config import Settings
from app.doctor.findings import Check, CheckResult, failure, ok, warning
from app.errors import ServiceError

HEARTBEATS_PER_LEASE_MIN = 5
MAIL_LEASE_MIN_S = 60
DISTINCT_BYTES_MIN = 8
"""A secret with fewer distinct bytes is not random."""


def validation_failures(error: ValidationError) -> list[CheckResult]:
    """Return a failure for each setting that is missing or invalid; never its value."""
    return [
        failure("settings", f"{_name(each['loc'])}{_rule(each['msg'])}.", _advice(each["type"]))
        for each in error.errors(include_input=False, include_url=False)
    ]


def _advice(kind: str) -> str:
    verb = "set" if kind == "missing" else "fix"
    return f"{verb} it; see docs/settings.md"


async def check(settings: Settings) -> list[CheckResult]:
    """Return what start-up would refuse, and what is unsuitable for production."""
    found = [
        *await _credentials(settings),
        *_public(settings),
        *_redis(settings),
        *_secrets(settings),
        *_times(settings),
    ]
    return found or [ok("settings", "Every setting is valid.")]


CHECK = Check("settings", check, "fix the setting; see docs/settings.md")


async def _credentials(settings: Settings) -> list[CheckResult]:
    """Return a failure where mailed presigned links would end with temporary credentials."""
    if settings.public_url is not None:
        return []
    try:
        temporary = await uses_temporary_credentials()
    except ServiceError:
        return []  # the bucket's check reports it
    if not temporary:
        return []
    detail = "Without PUBLIC_URL links are presigned, and these S3 credentials are temporary."
    return [failure("settings", detail, "set PUBLIC_URL and LINK_SECRET")]


def _public(settings: Settings) -> list[CheckResult]:
    """Return what is unsuitable for a service that is reached from other machines."""
    public = urlsplit(settings.public_url or "")
    if is_loopback(public.hostname or ""):
        return []
    found = []
    if public.scheme == "http":
        detail = "PUBLIC_URL is plain http: mailed links can be intercepted."
        found.append(warning("settings", detail, "serve it over TLS and use https in PUBLIC_URL"))
    if settings.demo:
        detail = "DEMO is on: anyone who opens / acts as seller 1."
        found.append(warning("settings", detail, "unset DEMO in production"))
    if settings.docs_enabled:
        detail = "DOCS_ENABLED is on: the API documentation is public."
        found.append(warning("settings", detail, "unset DOCS_ENABLED unless this is intended"))
    return found


def _redis(settings: Settings) -> list[CheckResult]:
    """Return whether traffic to Redis can be intercepted; a URL without a host is a socket."""
    address = urlsplit(settings.redis_url)
    if address.scheme != "redis" or is_loopback(address.hostname or "localhost"):
        return []
    detail = "REDIS_URL is not encrypted: its password can be intercepted."
    return [warning("settings", detail, "enable TLS in Redis and use rediss:// in REDIS_URL")]


def _secrets(settings: Settings) -> list[CheckResult]:
    """Return which secrets are guessable or reused; their length is checked at start-up."""
    secrets_by_name = {
        "AUTH_JWT_SECRET": settings.jwt_secrets,
        "LINK_SECRET": settings.link_secrets,
    }
    advice = "generate each with: openssl rand -hex 32"
    found = [
        warning("settings", f"{name} is not random.", advice)
        for name, secrets in secrets_by_name.items()
        if any(len(set(secret)) < DISTINCT_BYTES_MIN for secret in secrets)
    ]
    if set(settings.jwt_secrets) & set(settings.link_secrets):
        detail = "AUTH_JWT_SECRET and LINK_SECRET share a secret."
        found.append(warning("settings", detail, advice))
    return found


def _times(settings: Settings) -> list[CheckResult]:
    found = []
    if settings.lease_s < HEARTBEATS_PER_LEASE_MIN * settings.heartbeat_s:
        detail = "LEASE_S is short: a worker loses its export after a few late heartbeats."
        found.append(
            warning(
                "settings",
                detail,
                f"set it to at least {HEARTBEATS_PER_LEASE_MIN} times HEARTBEAT_S",
            )
        )
    if settings.mail_lease_s < MAIL_LEASE_MIN_S:
        detail = "MAIL_LEASE_S is short: while the database is slow, mails may be sent twice."
        found.append(warning("settings", detail, f"set it to {MAIL_LEASE_MIN_S} or more"))
    return found


def _rule(message: str) -> str:
    return message.removeprefix("Value error, ")


def _name(location: tuple[int | str, ...]) -> str:
    return "".join(f"{str(part).upper()}: " for part in location)
