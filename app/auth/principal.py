"""The principal: the caller that a token's verified claims describe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.email_addresses import is_valid_recipient
from app.errors import Forbidden, InsufficientScope, TokenInvalid

READ = "exports:read"

WRITE = "exports:write"

ALL_SELLERS = "sellers:all"

AUDIENCE_WRITE = "audience:write"

BIGINT_MAX = 2**63 - 1

SUBJECT_MAX = 255

INSTANT_MAX = 2**53
"""The largest integer that every JSON parser reads exactly (RFC 8259, section 6)."""


@dataclass(frozen=True)
class Principal:
    """An authenticated caller.

    ``seller_id`` is the seller that the token is bound to; ``None`` for a
    service, which may act for several. ``email`` is the address of the person,
    ``subject`` the token's ``sub``; ``locale`` and ``zoneinfo`` are a language tag and a time zone
    (OpenID Connect Core, 5.1), whose content is not checked.
    """

    seller_id: int | None
    email: str | None
    subject: str | None
    scopes: frozenset[str]
    locale: str | None = None
    zoneinfo: str | None = None

    @property
    def name(self) -> str | None:
        """The caller's name for the audit log and ``requested_by``."""
        return self.subject or self.email

    def require(self, scope: str) -> None:
        """Check that the token has ``scope``, and ``sellers:all`` if it is not bound to a seller.

        Raises:
            InsufficientScope: it lacks one of them.
        """
        required = (scope,) if self.seller_id is not None else (scope, ALL_SELLERS)
        for each in required:
            if each not in self.scopes:
                raise InsufficientScope(each)

    def seller(self, requested: int | None) -> int | None:
        """Return the seller that a request is about; ``requested`` is its ``seller_id``, if any.

        ``None`` means all sellers, which only a service can get.

        Raises:
            Forbidden: the token is bound to another seller than ``requested``.
        """
        if self.seller_id is None:
            return requested
        if requested not in (None, self.seller_id):
            raise Forbidden("This token is bound to another seller.")
        return self.seller_id


def principal(claims: Mapping[str, Any]) -> Principal:
    """Return the principal of verified claims.

    Raises:
        TokenInvalid: a claim has the wrong type or format; null counts as one.
    """
    scope = claims.get("scope", "")
    checks = {
        "exp": _is_instant(claims.get("exp")),
        "nbf": _is_instant(claims.get("nbf", 0)),
        "iat": _is_instant(claims.get("iat", 0)),
        "scope": isinstance(scope, str),
        "sub": _is_name(claims.get("sub", "")),
        # Not .get(): with null, a seller's token would be one that is bound to no seller.
        "seller_id": "seller_id" not in claims or _is_seller_id(claims["seller_id"]),
        "locale": isinstance(claims.get("locale", ""), str),
        "zoneinfo": isinstance(claims.get("zoneinfo", ""), str),
        "email": "email" not in claims or is_valid_recipient(claims["email"]),
    }
    for claim, is_valid in checks.items():
        if not is_valid:
            raise TokenInvalid(f"The token's claim {claim} is malformed.")
    return Principal(
        seller_id=claims.get("seller_id"),
        email=claims.get("email"),
        subject=claims.get("sub"),
        scopes=frozenset(scope.split()),
        locale=claims.get("locale"),
        zoneinfo=claims.get("zoneinfo"),
    )


def _is_instant(value: object) -> bool:
    """Return whether ``value`` is a NumericDate (RFC 7519, section 2): seconds since 1970."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # False for NaN, which Python's JSON parser accepts.
    return -INSTANT_MAX < value < INSTANT_MAX


def _is_name(value: object) -> bool:
    """Return whether ``value`` is a subject: at most 255 characters (OpenID Connect Core, 2)."""
    return isinstance(value, str) and value.isprintable() and len(value) <= SUBJECT_MAX


def _is_seller_id(value: object) -> bool:
    # In Python, true is an integer: it would be seller 1.
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= BIGINT_MAX
