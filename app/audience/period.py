"""A period, and its condition on a member's date."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Period:
    """From ``after`` up to, not including, ``before``, both aware; ``None``: no bound.

    An unknown date (``infinity``) is in no period that has a bound.
    """

    after: datetime | None = None
    before: datetime | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether it leaves out any date."""
        return self.after is not None or self.before is not None

    def condition(self, date: str) -> str:
        """Return the SQL condition on a date to be in the period; a null is in none."""
        if not self.is_bounded:
            return f"{date} IS NOT NULL"
        # Also where there is no end: < 'infinity' leaves out unknown dates, which are infinity.
        end = f"{date} < {_literal(self.before)}"
        return end if self.after is None else f"{date} >= {_literal(self.after)} AND {end}"


ALWAYS = Period()


def _literal(instant: datetime | None) -> str:
    return f"'{'infinity' if instant is None else instant.isoformat()}'::timestamptz"
