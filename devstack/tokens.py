"""Bearer tokens for the embedded stack, signed as the storefront would sign them."""

import time
from collections.abc import Mapping

import jwt

LIFETIME_S = 7 * 24 * 3600
SELLER_ID = 1
SELLER_EMAIL = "seller1@example.com"
SELLER_SCOPES = "exports:read exports:write"
SERVICE_SCOPES = "exports:read exports:write sellers:all audience:write"


def demo_tokens(settings: Mapping[str, str]) -> dict[str, str]:
    """Return ``SELLER_TOKEN``, for seller 1, and ``SERVICE_TOKEN``, for all sellers."""
    seller: dict[str, str | int] = {
        "sub": "seller-1",
        "seller_id": SELLER_ID,
        "email": SELLER_EMAIL,
    }
    return {
        "SELLER_TOKEN": mint(settings, {**seller, "scope": SELLER_SCOPES}),
        "SERVICE_TOKEN": mint(settings, {"sub": "service", "scope": SERVICE_SCOPES}),
    }


def mint(settings: Mapping[str, str], claims: Mapping[str, str | int]) -> str:
    """Sign ``claims`` with the first key of ``AUTH_JWT_SECRET``; the token is valid for a week."""
    now = int(time.time())
    standard: dict[str, str | int] = {
        "aud": settings["AUTH_AUDIENCE"],
        "iat": now,
        "exp": now + LIFETIME_S,
    }
    if settings.get("AUTH_ISSUER"):
        standard["iss"] = settings["AUTH_ISSUER"]
    key = settings["AUTH_JWT_SECRET"].split(",")[0].strip()
    return jwt.encode(standard | dict(claims), key, algorithm="HS256")
