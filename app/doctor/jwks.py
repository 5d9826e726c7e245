"""The keys that verify tokens: shared secrets and the key server."""

from urllib.parse import urlsplit

from app.adapters.smtp.address import is_loopback
from app.auth.jwks import KeyServer
from app.config import Settings
from app.doctor.findings import Check, CheckResult, failure, ok, warning


async def check(settings: Settings) -> list[CheckResult]:
    """Return a finding for the shared secrets and one for the key server, where set.

    Raises:
        JwksUnavailable: the key server is unavailable, or sends no key set.
    """
    findings = []
    if settings.jwt_secrets:
        count = len(settings.jwt_secrets)
        findings.append(ok("keys.secret", f"{_count(count, 'shared secret')} can verify tokens."))
    if settings.auth_jwks_url is not None:
        findings.append(await _key_server(settings.auth_jwks_url))
    return findings


CHECK = Check("keys.server", check, "start the key server, or fix AUTH_JWKS_URL")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


async def _key_server(url: str) -> CheckResult:
    name = "keys.server"
    usable = await KeyServer(url).check()
    if not usable:
        detail = "The key server publishes no key that this service accepts."
        return failure(
            name, detail, "publish an RS256, ES256 or EdDSA (Ed25519) key for signatures"
        )
    detail = f"The key server publishes {_count(usable, 'key')}."
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return warning(
            name,
            detail,
            "use https in AUTH_JWKS_URL: over plain http, anyone on the way can replace the keys",
        )
    return ok(name, detail)
