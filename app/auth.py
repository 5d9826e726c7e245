"""Callers' tokens: from a bearer token to the principal it speaks for."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from app.config import Settings
from app.errors import RecipientForbidden, ScopeMissing, TokenInvalid
from app.jwks import KeyServer
from app.recipients import is_mailable

READ = "exports:read"
WRITE = "exports:write"
ALL_SELLERS = "sellers:all"
AUDIENCE_WRITE = "audience:write"

CLOCK_SKEW_S = 30
BIGINT_MAX = 2**63 - 1
SUBJECT_MAX = 255

KNOWN_MAX = 1024
"""How many tokens are remembered as verified, a few hundred bytes each."""

HMAC = "HS256"
SIGNATURES = frozenset({"RS256", "ES256", "EdDSA"})
"""The algorithms of public keys; everything else, ``none`` above all, is refused."""


@dataclass(frozen=True)
class Principal:
    """Who calls: one seller, or, with ``seller_id`` ``None``, a service for many.

    ``email`` is the acting person's address, ``subject`` what the token's
    issuer calls the caller.
    """

    seller_id: int | None
    email: str | None
    subject: str | None
    scopes: frozenset[str]

    @property
    def name(self) -> str | None:
        """Whom to name as the one who asked."""
        return self.subject or self.email

    def require(self, scope: str) -> None:
        """Return when the token carries ``scope``, and ``sellers:all`` where it names no seller.

        Raises:
            ScopeMissing: it does not.
        """
        needed = (scope,) if self.seller_id is not None else (scope, ALL_SELLERS)
        for each in needed:
            if each not in self.scopes:
                raise ScopeMissing(each)

    def seller(self, named: int | None) -> int | None:
        """Return the seller that a call is about; ``named`` is the one it names, if any.

        ``None`` stands for every seller and is only possible for a service.

        Raises:
            RecipientForbidden: a seller's token names another seller.
        """
        if self.seller_id is None:
            return named
        if named not in (None, self.seller_id):
            raise RecipientForbidden("This token speaks for another seller.")
        return self.seller_id


@dataclass(frozen=True)
class _Verified:
    """What a token was found to be, under which key, and the instants between which it holds."""

    principal: Principal
    algorithm: str
    kid: str | None
    key: jwt.PyJWK
    begins_at: float
    ends_at: float


class TokenVerifier:
    """Verifies tokens under the keys of the settings.

    HS256 is tried with the shared secrets only, the algorithms of public keys
    with the key server's keys only: a token cannot choose what its key is
    used as (RFC 8725, section 3.1).

    A token that was found good is remembered by its SHA-256, so that its next
    request costs no signature. Its time is looked at each time, without the
    skew that clocks are granted, and so is that its key is one of those in use:
    the key server's keys are other objects after each fetch. Whatever is not
    as it was is verified anew.
    """

    def __init__(self, settings: Settings) -> None:
        self._secrets = [_shared(secret) for secret in settings.jwt_secrets]
        self._key_server = KeyServer(settings.auth_jwks_url) if settings.auth_jwks_url else None
        self._audience = settings.auth_audience
        self._issuer = settings.auth_issuer
        self._known: dict[bytes, _Verified] = {}

    async def verify(self, token: str) -> Principal:
        """Return the principal of a signed, timely token that is meant for us.

        Raises:
            TokenInvalid: anything is wrong with the token.
            KeysUnavailable: its key is unknown and the key server is away.
        """
        digest = sha256(token.encode(errors="surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and await self._holds(known):
            return known.principal
        algorithm, kid = _header(token)
        for key in await self._keys(algorithm, kid):
            try:
                claims = self._claims(token, key)
            except jwt.InvalidSignatureError:
                continue
            found = _Verified(principal(claims), algorithm, kid, key, *_lifetime(claims))
            self._remember(digest, found)
            return found.principal
        raise TokenInvalid("The token's signature is not by a key we know.")

    async def _holds(self, known: _Verified) -> bool:
        if not known.begins_at <= time.time() < known.ends_at:
            return False
        return any(key is known.key for key in await self._keys(known.algorithm, known.kid))

    def _remember(self, digest: bytes, found: _Verified) -> None:
        """Keep what was found, in the place of the oldest where there are many."""
        self._known.pop(digest, None)
        while len(self._known) >= KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[digest] = found

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
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=CLOCK_SKEW_S,
                options={"require": ["exp", "aud"], "enforce_minimum_key_length": True},
            )
        except jwt.InvalidSignatureError:
            raise
        except jwt.ExpiredSignatureError as error:
            raise TokenInvalid("The token has expired.") from error
        except jwt.MissingRequiredClaimError as error:
            raise TokenInvalid(f"The token lacks the claim {error.claim}.") from error
        except (jwt.PyJWTError, AttributeError, TypeError) as error:
            raise TokenInvalid("The token is not valid here.") from error


def principal(claims: Mapping[str, Any]) -> Principal:
    """Return the principal that verified claims describe.

    Raises:
        TokenInvalid: a claim is not of its kind; a null is not an absent claim.
    """
    scope = claims.get("scope", "")
    checks = {
        "exp": _is_number(claims.get("exp")),
        "nbf": _is_number(claims.get("nbf", 0)),
        "scope": isinstance(scope, str),
        "sub": _is_name(claims.get("sub", "")),
        "seller_id": "seller_id" not in claims or _is_seller_id(claims["seller_id"]),
        "email": "email" not in claims or is_mailable(claims["email"]),
    }
    for claim, is_sound in checks.items():
        if not is_sound:
            raise TokenInvalid(f"The token's claim {claim} is malformed.")
    return Principal(
        seller_id=claims.get("seller_id"),
        email=claims.get("email"),
        subject=claims.get("sub"),
        scopes=frozenset(scope.split()),
    )


def _lifetime(claims: Mapping[str, Any]) -> tuple[float, float]:
    """Return from when to when verified claims are good on every clock."""
    return max(claims.get("nbf", 0), claims.get("iat", 0)), claims["exp"]


def _header(token: str) -> tuple[str, str | None]:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, UnicodeEncodeError) as error:
        raise TokenInvalid("The token is not a JSON Web Token.") from error
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise TokenInvalid("The token names no algorithm.")
    return algorithm, header.get("kid")


def _shared(secret: bytes) -> jwt.PyJWK:
    return jwt.PyJWK({"kty": "oct", "k": jwt.utils.base64url_encode(secret).decode()}, HMAC)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_name(value: object) -> bool:
    """OpenID Connect Core, section 2: a subject has at most 255 characters."""
    return isinstance(value, str) and value.isprintable() and len(value) <= SUBJECT_MAX


def _is_seller_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= BIGINT_MAX
