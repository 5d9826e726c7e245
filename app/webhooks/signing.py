"""Standard Webhooks: secrets and signatures."""

import base64
import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256

PREFIX = "whsec_"

SECRET_BYTES = 32


def sign(call_id: str, body: bytes, secrets: Sequence[str], timestamp: int) -> dict[str, str]:
    """Return the headers of a call: its id, its time, and one signature for each secret.

    Standard Webhooks 1.0.0: HMAC-SHA256 over id, time and body, in Base64.
    ``timestamp`` is in Unix seconds; receivers refuse one that is minutes old.
    """
    signed = f"{call_id}.{timestamp}.".encode() + body
    signatures = (
        base64.b64encode(hmac.digest(_key(secret), signed, sha256)).decode() for secret in secrets
    )
    return {
        "Content-Type": "application/json",
        "webhook-id": call_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))


def new_secret() -> str:
    """Return a new secret: 24 to 64 random bytes in Base64 after a prefix (Standard Webhooks)."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
