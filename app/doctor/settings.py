"""Settings that are unfit, or fit for development only."""

from urllib.parse import urlsplit

from pydantic import ValidationError

from app.adapters.s3_client import uses_temporary_credentials
from app.adapters.smtp_address import is_loopback
from app.config import Settings
from app.doctor.findings import Check, Finding, failure, ok, warning
from app.errors import ServiceError

BEATS_A_LEASE_MIN = 5
MAIL_LEASE_MIN_S = 60
DISTINCT_BYTES_MIN = 8
"""What fewer different bytes repeat is no random secret."""


def faults(error: ValidationError) -> list[Finding]:
    """Return a failure for each setting that is missing or unfit; never its value."""
    return [
        failure(
            "settings", f"{_name(fault['loc'])}{_rule(fault['msg'])}.", "set it; see .env.example"
        )
        for fault in error.errors(include_input=False, include_url=False)
    ]


async def examine(settings: Settings) -> list[Finding]:
    """Return what start-up would refuse, and what would be unwise in production."""
    found = [
        *await _credentials(settings),
        *_public(settings),
        *_redis(settings),
        *_secrets(settings),
        *_times(settings),
    ]
    return found or [ok("settings", "Every setting is fit.")]


CHECK = Check("settings", examine, "mend the setting; see README.md")


async def _credentials(settings: Settings) -> list[Finding]:
    """Presigned links end with the credentials that signed them."""
    if settings.public_url is not None:
        return []
    try:
        temporary = await uses_temporary_credentials()
    except ServiceError:
        return []  # the bucket's check tells
    if not temporary:
        return []
    detail = "Without PUBLIC_URL links are presigned, and these S3 credentials are temporary."
    return [failure("settings", detail, "set PUBLIC_URL and LINK_SECRET")]


def _public(settings: Settings) -> list[Finding]:
    """Return what does not belong where people reach the service from outside."""
    public = urlsplit(settings.public_url or "")
    if is_loopback(public.hostname or ""):
        return []
    found = []
    if public.scheme == "http":
        detail = "PUBLIC_URL is plain http: mailed links can be read on the way."
        found.append(warning("settings", detail, "serve it over TLS and say https"))
    if settings.demo:
        detail = "DEMO is on: whoever opens / acts as seller 1."
        found.append(warning("settings", detail, "unset DEMO in production"))
    if settings.docs_enabled:
        detail = "DOCS_ENABLED is on: the API describes itself to everybody."
        found.append(warning("settings", detail, "unset DOCS_ENABLED unless that is wanted"))
    return found


def _redis(settings: Settings) -> list[Finding]:
    """Return whether the way to Redis can be listened to; one without a host is a socket."""
    address = urlsplit(settings.redis_url)
    if address.scheme != "redis" or is_loopback(address.hostname or "localhost"):
        return []
    detail = "REDIS_URL is plain redis to another machine: its password can be read on the way."
    return [warning("settings", detail, "let Redis speak TLS and say rediss")]


def _secrets(settings: Settings) -> list[Finding]:
    """Return which secrets are no secrets; their length is checked at start-up."""
    named = {"AUTH_JWT_SECRET": settings.jwt_secrets, "LINK_SECRET": settings.link_secrets}
    advice = "make each with: openssl rand -hex 32"
    found = [
        warning("settings", f"{name} is not random.", advice)
        for name, secrets in named.items()
        if any(len(set(secret)) < DISTINCT_BYTES_MIN for secret in secrets)
    ]
    if set(settings.jwt_secrets) & set(settings.link_secrets):
        detail = "AUTH_JWT_SECRET and LINK_SECRET share a secret."
        found.append(warning("settings", detail, advice))
    return found


def _times(settings: Settings) -> list[Finding]:
    found = []
    if settings.lease_s < BEATS_A_LEASE_MIN * settings.heartbeat_s:
        detail = "LEASE_S is short: a few late heartbeats cost a worker its export."
        found.append(warning("settings", detail, "make it many times HEARTBEAT_S"))
    if settings.mail_lease_s < MAIL_LEASE_MIN_S:
        detail = "MAIL_LEASE_S is short: a slow mail server may get mails twice."
        found.append(warning("settings", detail, f"make it {MAIL_LEASE_MIN_S} or more"))
    return found


def _rule(message: str) -> str:
    return message.removeprefix("Value error, ")


def _name(location: tuple[int | str, ...]) -> str:
    return "".join(f"{str(part).upper()}: " for part in location)
