"""What identifies an export, and one attempt at it."""

from typing import NamedTuple
from uuid import UUID


class ExportKey(NamedTuple):
    """The primary key of an export: the id alone does not say whose it is."""

    # The names are parameters of SQL statements, by `_asdict()`.
    seller_id: int
    id: UUID

    def attempt(self, number: int) -> "AttemptKey":
        """Return the key of one attempt, which count from 1."""
        return AttemptKey(self, number)


class AttemptKey(NamedTuple):
    """One attempt at an export. The number fences: no two attempts share sessions or objects."""

    export: ExportKey
    number: int
