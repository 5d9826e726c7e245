"""Tokens as the storefront's issuer would sign them, for tests."""

import time
from typing import Any

import jwt

SECRET = "the tests' own secret: long enough for HS256"
AUDIENCE = "audience-export"
LIFETIME_S = 7200

OWNER_EMAIL = "seller1@example.com"


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a token that reads and writes for seller 1, with ``changes``.

    A claim changed to ``...`` is left out.
    """
    usual = {
        "aud": AUDIENCE,
        "exp": int(time.time()) + LIFETIME_S,
        "scope": "exports:read exports:write",
        "seller_id": 1,
        "email": OWNER_EMAIL,
    }
    return {name: value for name, value in (usual | changes).items() if value is not ...}


def mint(secret: str = SECRET, **changes: Any) -> str:
    """Return an HS256 token with :func:`claims`."""
    return jwt.encode(claims(**changes), secret, "HS256")


def mint_for_service(**changes: Any) -> str:
    """Return a token that is not bound to a seller, with every scope."""
    usual = {
        "seller_id": ...,
        "email": ...,
        "sub": "storefront",
        "scope": "exports:read exports:write sellers:all",
    }
    return mint(SECRET, **(usual | changes))


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
