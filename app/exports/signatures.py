"""The signatures of webhooks, by the Standard Webhooks specification."""

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256

from app.exports.endpoints import PREFIX


def signed_headers(
    call_id: str, body: bytes, secrets: Sequence[str], timestamp: int
) -> dict[str, str]:
    """Return the headers of a call: its id, its time, and a signature by each secret.

    Standard Webhooks 1.0.0: HMAC-SHA256 over id, time and body, in base64.
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
