"""What ``POST /exports`` must answer, by idempotency, coalescing and limits."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from uuid import UUID

from app.config import Settings
from app.errors import IdempotencyKeyReused, QuotaExceeded, ServiceError
from tests.exports.lifecycle.invariants import is_active
from tests.exports.lifecycle.service import State

KEY_LIFETIME_S = 86_400


class Answer(Enum):
    """``UNKNOWN``: clocks were set back behind the end of the key's life, which may have ended."""

    NEW = "a new export"
    UNKNOWN = "unknown"


@dataclass
class UsedKey:
    """An idempotency key: its export and recipient, its age and the greatest that it had."""

    export_id: UUID
    recipient: str
    age_s: float = 0
    oldest_s: float = 0


class Keys:
    """The idempotency keys that were answered."""

    def __init__(self) -> None:
        self._used: dict[tuple[int, str], UsedKey] = {}

    def find(self, seller_id: int, key: str | None) -> UsedKey | None:
        """Return a seller's key that was used within 24 hours; ``None`` without one."""
        used = None if key is None else self._used.get((seller_id, key))
        return None if used is None or used.age_s >= KEY_LIFETIME_S else used

    def note(self, seller_id: int, key: str | None, export_id: UUID, recipient: str) -> None:
        """Note an answer; a key that is in use keeps its first one."""
        if key is not None and self.find(seller_id, key) is None:
            self._used[seller_id, key] = UsedKey(export_id, recipient)

    def forget(self, seller_id: int, key: str | None) -> None:
        """Forget a key of which nothing is known."""
        if key is not None:
            self._used.pop((seller_id, key), None)

    def age(self, seconds: float) -> None:
        """Make every key older."""
        for used in self._used.values():
            used.age_s += seconds
            used.oldest_s = max(used.oldest_s, used.age_s)


def expected_answer(
    state: State, limits: Settings, used: UsedKey | None, seller_id: int, recipient: str
) -> UUID | Answer | type[ServiceError]:
    """Return the existing export that answers a request, ``Answer.NEW``, or the error."""
    if used is not None:
        if used.oldest_s >= KEY_LIFETIME_S:
            return Answer.UNKNOWN
        return used.export_id if used.recipient == recipient else IdempotencyKeyReused
    rows = [row for row in state.rows.values() if row["seller_id"] == seller_id]
    active = [row for row in rows if is_active(row)]
    for row in active:
        if row["snapshot_at"] is None and row["recipient_email"] == recipient:
            return UUID(str(row["id"]))
    recent = [row for row in rows if row["created_at"] > state.now - timedelta(hours=1)]
    if (
        len(active) >= limits.max_active_exports_per_seller
        or len(recent) >= limits.max_exports_per_seller_per_hour
    ):
        return QuotaExceeded
    return Answer.NEW
