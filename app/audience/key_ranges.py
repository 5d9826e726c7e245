"""Divide a seller's members into key ranges of about equal size."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SAMPLE_SHARE = 1024
"""A sampled address stands for this many."""

# Changed here alone, it would no longer select the index, and each use would read the key.
SAMPLE = f"hashtext(email) & {SAMPLE_SHARE - 1} = 0"
"""Selects one address in 1024 by its hash; the condition of ``audience_members_sample_idx``.

That index is what makes this cheap: in it, the share of a key range is the
range's share of the seller's members, however their addresses are spread.
"""

BOUNDARIES = f"""
    ARRAY(
        SELECT email
        FROM (
            SELECT email, row_number() OVER (ORDER BY email) AS number
            FROM audience_members
            WHERE seller_id = :seller_id AND {SAMPLE}
        ) AS sample
        WHERE number % :samples = 0
        ORDER BY email
    )
"""  # noqa: S608 - a condition of ours
"""The addresses that separate ranges of ``samples`` sampled addresses each, in order."""

RANGE_SAMPLES = 12
"""The sampled addresses in a range: about 12,000 members, half a megabyte of CSV."""


@dataclass(frozen=True)
class KeyRange:
    """Addresses from ``low`` up to, not including, ``high``, in byte order; ``None``: no bound."""

    low: str | None = None
    high: str | None = None

    @property
    def condition(self) -> str:
        """The range as SQL, to follow other conditions; empty for all keys."""
        low = f" AND email >= {literal(self.low)}" if self.low is not None else ""
        high = f" AND email < {literal(self.high)}" if self.high is not None else ""
        return low + high


ALL_KEYS = KeyRange()


def literal(value: str) -> str:
    """Return a text as an SQL literal, as PostgreSQL's ``quote_literal`` does."""
    quoted = value.replace("'", "''").replace("\\", "\\\\")
    return f"E'{quoted}'" if "\\" in value else f"'{quoted}'"


def ranges_between(boundaries: Sequence[str]) -> list[KeyRange]:
    """Return the ranges between the boundaries, in order; they cover all keys."""
    bounds = [None, *boundaries, None]
    return [KeyRange(low, high) for low, high in pairwise(bounds)]
