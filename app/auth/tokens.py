"""Verify bearer tokens (JSON Web Tokens, RFC 7519)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from app.auth.jwks import KeyServer
from app.auth.principal import Principal, principal
from app.config import Settings
from app.errors import TokenInvalid

CLOCK_SKEW_S = 30

CACHE_SIZE = 1024
"""The number of verified tokens to cache, a few hundred bytes each."""


HMAC = "HS256"
SIGNATURES = frozenset({"RS256", "ES256", "EdDSA", "Ed25519"})
"""The accepted public-key algorithms; any other, above all ``none``, is refused."""


@dataclass(frozen=True)
class _Verified:
    """A cached verification: the principal, the key, and when the token is valid.

    ``begins_at`` and ``ends_at`` are seconds since 1970, without clock skew.
    """

    principal: Principal
    algorithm: str
    kid: str | None
    key: jwt.PyJWK
    begins_at: float
    ends_at: float


class TokenVerifier:
    """Verifies tokens with the keys of the settings.

    HS256 uses only the shared secrets, public-key algorithms only the key
    server's keys: a token cannot choose how its key is used (RFC 8725,
    section 3.1).

    A verified token is cached by its SHA-256, which saves the signature check
    of its next request. A cached result is used only while the token is valid
    without clock skew and its key is still in use: the key server's keys are
    new objects after each fetch. Otherwise the token is verified again.
    """

    def __init__(self, settings: Settings) -> None:
        self._secrets = [_hmac_key(secret) for secret in settings.jwt_secrets]
        self._key_server = KeyServer(settings.auth_jwks_url) if settings.auth_jwks_url else None
        self._audience = settings.auth_audience
        self._issuer = settings.auth_issuer
        self._cache: dict[bytes, _Verified] = {}

    async def verify(self, token: str) -> Principal:
        """Return the principal of a token that is signed, current and for our audience.

        Raises:
            TokenInvalid: the token is not valid; the message says why.
            JwksUnavailable: its key is not cached and the key server is unavailable.
        """
        digest = sha256(token.encode(errors="surrogatepass")).digest()
        cached = self._cache.get(digest)
        if cached is not None and await self._is_current(cached):
            return cached.principal
        algorithm, kid = _header(token)
        for key in await self._keys(algorithm, kid):
            try:
                claims = self._claims(token, key)
            # Only this one leads to the next key: claims are validated after the signature.
            except jwt.InvalidSignatureError:
                continue
            # principal() first: it refuses times that are no numbers, which _lifetime() compares.
            verified = _Verified(principal(claims), algorithm, kid, key, *_lifetime(claims))
            self._add_to_cache(digest, verified)
            return verified.principal
        raise TokenInvalid("The token's signature does not match any accepted key.")

    async def _is_current(self, cached: _Verified) -> bool:
        if not cached.begins_at <= time.time() < cached.ends_at:
            return False
        return any(key is cached.key for key in await self._keys(cached.algorithm, cached.kid))

    def _add_to_cache(self, digest: bytes, verified: _Verified) -> None:
        """Cache a verification; a full cache drops its oldest entry."""
        self._cache.pop(digest, None)  # so that the token moves to the end of the dict
        while len(self._cache) >= CACHE_SIZE:
            del self._cache[next(iter(self._cache))]
        self._cache[digest] = verified

    async def _keys(self, algorithm: str, kid: str | None) -> list[jwt.PyJWK]:
        if algorithm == HMAC:
            return self._secrets
        if algorithm in SIGNATURES and self._key_server is not None:
            return await self._key_server.keys(algorithm, kid)
        raise TokenInvalid("The token's algorithm is not accepted.")

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                # Never the algorithm of the token's header: its sender chose that.
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=CLOCK_SKEW_S,
                # Without `require`, a token that has no `exp` is valid for ever.
                options={"require": ["exp", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.ExpiredSignatureError as error:
            raise TokenInvalid("The token has expired.") from error
        except jwt.MissingRequiredClaimError as error:
            raise TokenInvalid(f"The token lacks the claim {error.claim}.") from error
        except (jwt.PyJWTError, AttributeError, TypeError) as error:
            raise TokenInvalid(
                "The token is not valid for this service: check its audience, issuer and times."
            ) from error


def _lifetime(claims: Mapping[str, Any]) -> tuple[float, float]:
    """Return when verified claims begin and cease to be valid, in seconds since 1970."""
    return max(claims.get("nbf", 0), claims.get("iat", 0)), claims["exp"]


def _header(token: str) -> tuple[str, str | None]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, UnicodeEncodeError) as error:
        raise TokenInvalid("The token is not a JSON Web Token.") from error
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise TokenInvalid("The token's header has no algorithm.")
    return algorithm, header.get("kid")


def _hmac_key(secret: bytes) -> jwt.PyJWK:
    return jwt.PyJWK({"kty": "oct", "k": jwt.utils.base64url_encode(secret).decode()}, HMAC)
