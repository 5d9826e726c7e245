"""Who signs callers' tokens."""

from urllib.parse import urlsplit

from app.adapters.smtp_address import is_loopback
from app.config import Settings
from app.doctor.findings import Check, Finding, failure, ok, warning
from app.jwks import KeyServer


async def examine(settings: Settings) -> list[Finding]:
    """Return whether there are keys to verify tokens with.

    Raises:
        KeysUnavailable: the key server is away, or answers something else.
    """
    findings = []
    if settings.jwt_secrets:
        findings.append(ok("keys.secret", f"{len(settings.jwt_secrets)} shared secrets."))
    if settings.auth_jwks_url is not None:
        findings.append(await _key_server(settings.auth_jwks_url))
    return findings


CHECK = Check("keys.server", examine, "start the key server, or mend AUTH_JWKS_URL")


async def _key_server(url: str) -> Finding:
    check = "keys.server"
    usable = await KeyServer(url).check()
    if not usable:
        detail = "The key server publishes no key that this service accepts."
        return failure(check, detail, "publish an RS256, ES256 or EdDSA key for signatures")
    detail = f"The key server publishes {usable} keys."
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        return warning(check, detail, "AUTH_JWKS_URL is plain http: whoever is between signs too")
    return ok(check, detail)
