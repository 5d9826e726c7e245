"""The staging table: rows as text, checked as a set before anything is written.

It is temporary and ends with its transaction, so that it works behind a
transaction-pooling PgBouncer as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from app.audience.sources import Source
from app.database import Connection
from app.feeds.columns import BOOLEAN, INSTANT, INTEGERS, SELLER, SourceColumn, fed_columns

KEY = "key"
VERSION = "version"
DELETED = "deleted"

KEY_LENGTH_MAX = 255

TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)? ?(Z|UTC|[+-]\d\d(:?\d\d)?)?)?$"
"""How an instant is written; without a zone it is UTC. PostgreSQL alone would take more than
everybody reads alike: ``01/02/2025``, ``now``, ``infinity``."""


@dataclass(frozen=True, order=True)
class Rejected:
    """A line that is not taken, and why. Lines count from 1."""

    line: int
    reason: str


@dataclass(frozen=True)
class Staging:
    """The staging table of one source: ``columns`` of its rows, and who they are.

    ``is_keyed`` says that rows have the storefront's own key, ``is_versioned``
    that they have its version as well, ``has_deletions`` that a row may say
    that its key is deleted, and then needs no more than its seller.
    """

    source: Source
    columns: tuple[str, ...]
    is_keyed: bool = False
    is_versioned: bool = False
    has_deletions: bool = False

    @property
    def table(self) -> str:
        """The table's name."""
        return f"staged_{self.source.table}"

    @property
    def fields(self) -> tuple[str, ...]:
        """What each line of the CSV for :meth:`fill` holds, its number last."""
        named = {KEY: self.is_keyed, VERSION: self.is_versioned, DELETED: self.has_deletions}
        return (*(name for name, is_there in named.items() if is_there), *self.columns, "line")

    async def create(self, connection: Connection) -> None:
        """Create the table; the transaction's end drops it.

        Where rows have keys, each is given an id that no row of the source table has.
        """
        columns = [f'{name} text COLLATE "C"' for name in self.fields[:-1]]
        columns.append("line bigint")
        if self.is_keyed:
            columns.append(f"id bigint DEFAULT nextval('public.{self.source.table}_id_seq')")
        await connection.execute(
            f"CREATE TEMPORARY TABLE {self.table} ({', '.join(columns)}) ON COMMIT DROP"
        )

    async def fill(self, connection: Connection, fields: Sequence[str], lines: bytes) -> None:
        """Copy CSV lines of :attr:`fields`, in this order, into the table; empty cells are null."""
        await connection.copy_to_table(
            self.table,
            schema_name="pg_temp",
            columns=fields,
            source=BytesIO(lines),
            format="csv",
        )

    async def reject(self, connection: Connection) -> list[Rejected]:
        """Take out of the table what cannot be a row, and return it in order, with the reason."""
        found = await connection.fetch(f"""
            SELECT line, reason
            FROM (SELECT line, {self._reason()} AS reason FROM {self.table}) AS checked
            WHERE reason IS NOT NULL
            ORDER BY line
        """)
        rejected = [Rejected(row["line"], row["reason"]) for row in found]
        if rejected:
            lines = [each.line for each in rejected]
            await connection.execute(
                f"DELETE FROM {self.table} WHERE line = ANY ($1::bigint[])", lines
            )
        return rejected

    def typed(self, alias: str) -> list[str]:
        """Return the expressions that make :attr:`columns` of the checked text.

        A null where the table takes none is its column's default.
        """
        return [_typed(fed_columns(self.source)[name], alias) for name in self.columns]

    def _reason(self) -> str:
        faults = [*self._key_faults(), *_faults(fed_columns(self.source)[SELLER], "true")]
        is_row = f"{DELETED} IS NULL" if self.has_deletions else "true"
        for name in self.columns:
            if name != SELLER:
                faults += _faults(fed_columns(self.source)[name], is_row)
        return f"CASE {' '.join(faults)} END"

    def _key_faults(self) -> list[str]:
        faults = []
        if self.is_keyed:
            faults += [
                _when(f"{KEY} IS NULL", f"{KEY}: is missing"),
                _when(
                    f"char_length({KEY}) > {KEY_LENGTH_MAX}",
                    f"{KEY}: is longer than {KEY_LENGTH_MAX} characters",
                ),
            ]
        if self.is_versioned:
            faults += _faults(SourceColumn(VERSION, "bigint", False, None), "true")
        return faults


def _faults(column: SourceColumn, condition: str) -> list[str]:
    name = column.name
    faults = []
    if column.is_required:
        faults.append(_when(f"{name} IS NULL AND {condition}", f"{name}: is missing"))
    if column.type == BOOLEAN:
        faults.append(_when(_invalid(column), f"{name}: is neither true nor false"))
    elif column.type in INTEGERS:
        faults.append(_when(_invalid(column), f"{name}: is no whole number that fits"))
    elif column.type == INSTANT:
        unfit = f"{name} !~ '{TIME}' OR {_invalid(column)}"
        faults.append(_when(unfit, f"{name}: is no time such as 2026-11-22T13:54:05Z"))
    if name == SELLER:
        faults.append(_when(f"{name}::bigint < 1", f"{name}: is not 1 or more"))
    return faults


def _invalid(column: SourceColumn) -> str:
    return f"NOT pg_input_is_valid({column.name}, '{column.type}')"


def _when(condition: str, reason: str) -> str:
    return f"WHEN {condition} THEN '{reason}'"


def _typed(column: SourceColumn, alias: str) -> str:
    value = f"{alias}.{column.name}::{column.type}"
    if column.is_nullable or column.default is None:
        return value
    return f"coalesce({value}, '{column.default.strip(chr(39))}')"
