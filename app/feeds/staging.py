"""The staging table: rows as text, validated as a set before anything is written.

It is temporary and dropped at the end of its transaction, so that it works behind a
transaction-pooling PgBouncer as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from app.audience.key_ranges import literal
from app.database.database import DatabaseConnection
from app.feeds.columns import (
    BOOLEAN,
    EMAIL,
    ID,
    INSTANT,
    INTEGERS,
    SELLER,
    TEXT,
    SourceColumn,
    SourceTable,
    quoted,
)

KEY = "key"
VERSION = "version"
DELETED = "deleted"
DEFAULTED = "defaulted"
LINE = "line"

KEY_LENGTH_MAX = 255

UNCOMPARED = ("json", "xml")
"""Types without an equality operator."""

TIME = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)? ?(Z|UTC|[+-]\d\d(:?\d\d)?)?)?$"
"""The accepted form of an instant; without a zone it is UTC. PostgreSQL alone would accept
ambiguous ones as well: ``01/02/2025``, ``now``, ``infinity``."""


@dataclass(frozen=True, order=True)
class RejectedLine:
    """A rejected line and the reason. Line numbers start at 1."""

    line: int
    reason: str


def own(name: str) -> str:
    """Return the name of a column that the staging table has beside the source table's columns."""
    return f"__{name}"


@dataclass(frozen=True)
class StagingTable:
    """The staging table of one source.

    Attributes:
        target: The source table that the rows are for.
        columns: The columns of that table which the rows have, in order.
        is_keyed: Each row has the storefront's key.
        is_versioned: Each row has the storefront's version of the key.
        has_deletions: A row may be a deletion, of which only key, version and seller matter;
            any other row lists the columns that get their default.
    """

    target: SourceTable
    columns: tuple[str, ...]
    is_keyed: bool = False
    is_versioned: bool = False
    has_deletions: bool = False

    @property
    def table(self) -> str:
        """The table's name."""
        return f"staged_{self.target.source.table}"

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns of the table, in order; the line number is the last."""
        named = {
            KEY: self.is_keyed,
            VERSION: self.is_versioned,
            DELETED: self.has_deletions,
            DEFAULTED: self.has_deletions,
        }
        ours = (own(name) for name, is_there in named.items() if is_there)
        return (*ours, *self.columns, own(LINE))

    @property
    def id_type(self) -> str:
        """The type of a row's id."""
        return self.target.id.type if self.target.id else TEXT

    @property
    def id(self) -> str:
        """The SQL for a new row's id: generated, or its key where the table has no default."""
        return own(ID) if self.target.makes_ids else f"{own(KEY)}::{self.id_type}"

    async def create(self, tx: DatabaseConnection) -> None:
        """Create the table; it is dropped at the end of the transaction.

        Where rows have keys, each gets an id from the source table's own sequence.
        """
        # Collation C is the order of the members' indexes, in which upsert.py inserts rows.
        columns = [f'{quoted(name)} text COLLATE "C"' for name in self.fields[:-1]]
        columns.append(f"{own(LINE)} bigint")
        if self.is_keyed and self.target.id and self.target.makes_ids:
            columns.append(f"{own(ID)} {self.id_type} DEFAULT {self.target.id.default}")
        await tx.execute(
            f"CREATE TEMPORARY TABLE {self.table} ({', '.join(columns)}) ON COMMIT DROP"
        )

    async def fill(self, tx: DatabaseConnection, fields: Sequence[str], lines: bytes) -> None:
        """COPY lines of CSV to the table; an empty cell is null, ``""`` the empty text.

        ``fields`` names the cells of each line, in order: :attr:`fields`, or as many of them
        as the lines have.
        """
        # COPY streams; it is no statement that Database could execute.
        await tx.connection.copy_to_table(
            self.table,
            schema_name="pg_temp",
            columns=fields,
            source=BytesIO(lines),
            format="csv",
        )

    async def delete_invalid(self, tx: DatabaseConnection) -> list[RejectedLine]:
        """Delete invalid lines from the table; return them in order, with their reasons."""
        checked = f"SELECT {own(LINE)} AS line, {self._reason()} AS reason FROM {self.table}"
        found = await tx.fetch(f"""
            SELECT line, reason
            FROM ({checked}) AS checked
            WHERE reason IS NOT NULL
            ORDER BY line
        """)
        rejected = [RejectedLine(row["line"], row["reason"]) for row in found]
        if rejected:
            lines = [each.line for each in rejected]
            await tx.execute(
                f"DELETE FROM {self.table} WHERE {own(LINE)} = ANY (:lines)", lines=lines
            )
        return rejected

    async def unusable_lines(self, tx: DatabaseConnection) -> list[int]:
        """Return the line numbers, in order, of rows whose address can never be a member's."""
        if EMAIL not in self.columns:
            return []
        is_row = f"{own(DELETED)} IS NULL" if self.has_deletions else "true"
        found = await tx.fetch(f"""
            SELECT {own(LINE)} AS line
            FROM {self.table}
            WHERE {is_row} AND public.audience_address({EMAIL}) IS NULL
            ORDER BY line
        """)
        return [row["line"] for row in found]

    def cast_expressions(self, alias: str) -> list[str]:
        """Return the expressions that cast the validated text to :attr:`columns`.

        ``alias`` is this table's in the statement. A null becomes the default of a column
        that takes no nulls.
        """
        return [self._typed(self._column(name), alias) for name in self.columns]

    def compared(self, name: str) -> str:
        """Return the cast with which two values of a column are compared; empty as a rule.

        Some types have no ``=``; their text is compared.
        """
        return "::text" if self._column(name).type in UNCOMPARED else ""

    def _column(self, name: str) -> SourceColumn:
        if name == ID and self.target.id:
            return self.target.id
        return self.target.columns[name]

    def _typed(self, column: SourceColumn, alias: str) -> str:
        value = f"{alias}.{column.quoted}::{column.type}"
        if column.default is None:
            return value
        if not column.is_nullable:
            return f"coalesce({value}, {column.default})"
        if not self.has_deletions:
            return value
        is_defaulted = f"{literal(column.name)} = ANY ({alias}.{own(DEFAULTED)}::text[])"
        return f"CASE WHEN {is_defaulted} THEN {column.default} ELSE {value} END"

    def _reason(self) -> str:
        faults = [*self._key_faults(), *_faults(self._column(SELLER), "true")]
        is_row = f"{own(DELETED)} IS NULL" if self.has_deletions else "true"
        for name in self.columns:
            if name != SELLER:
                faults += _faults(self._column(name), is_row)
        return f"CASE {' '.join(faults)} END"

    def _key_faults(self) -> list[str]:
        faults = []
        if self.is_keyed:
            too_long = f"{KEY}: is longer than {KEY_LENGTH_MAX} characters"
            faults += [
                _when(f"{own(KEY)} IS NULL", f"{KEY}: is missing"),
                _when(f"char_length({own(KEY)}) > {KEY_LENGTH_MAX}", too_long),
            ]
            if not self.target.makes_ids:
                is_invalid = f"NOT pg_input_is_valid({own(KEY)}, '{self.id_type}')"
                faults.append(
                    _when(is_invalid, f"{KEY}: is no {self.id_type}, as the table's id is")
                )
        if self.is_versioned:
            is_valid = f"pg_input_is_valid({own(VERSION)}, 'bigint')"
            faults += [
                _when(f"{own(VERSION)} IS NULL", f"{VERSION}: is missing"),
                _when(f"NOT {is_valid}", f"{VERSION}: is no whole number that fits"),
            ]
        return faults


def _faults(column: SourceColumn, condition: str) -> list[str]:
    name = column.quoted
    invalid = f"NOT pg_input_is_valid({name}, {literal(column.type)})"
    faults = []
    if column.is_required:
        faults.append(_when(f"{name} IS NULL AND {condition}", f"{column.name}: is missing"))
    if column.type == BOOLEAN:
        faults.append(_when(invalid, f"{column.name}: is neither true nor false"))
    elif column.type in INTEGERS:
        faults.append(_when(invalid, f"{column.name}: is no whole number that fits"))
    elif column.type == INSTANT:
        is_invalid = f"{name} !~* '{TIME}' OR {invalid}"
        faults.append(_when(is_invalid, f"{column.name}: is no time such as 2026-11-22T13:54:05Z"))
    elif column.type != TEXT:
        faults.append(_when(invalid, f"{column.name}: is no valid {column.type}"))
    if column.name == SELLER:
        # Last: CASE stops at the first fault, so this cast is given valid numbers only.
        faults.append(_when(f"{name}::bigint < 1", f"{column.name}: is not 1 or more"))
    return faults


def _when(condition: str, reason: str) -> str:
    return f"WHEN {condition} THEN {literal(reason)}"
