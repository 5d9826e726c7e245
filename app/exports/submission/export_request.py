"""A validated request for an export."""

import json
from dataclasses import dataclass
from hashlib import sha256

from app.audience.merge import Merge
from app.models import FileOptions


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What somebody asks for; sources and columns are known and fit each other."""

    seller_id: int
    recipient_email: str
    sources: tuple[str, ...]
    options: FileOptions
    requested_by: str | None
    service: str | None = None

    @property
    def merge(self) -> Merge:
        """What the export will read."""
        return Merge(self.seller_id, self.sources, self.options)

    @property
    def fingerprint(self) -> bytes:
        """32 bytes, equal for requests that would make the same file for the same person."""
        # Stored for 24 hours with idempotency keys: if its text changes, retries across that
        # deployment are refused as IdempotencyKeyReused. The seller is compared beside it.
        parts = [self.recipient_email, self.sources, self.options.document]
        return sha256(json.dumps(parts, sort_keys=True).encode()).digest()
