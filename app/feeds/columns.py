"""What may be fed: the columns of each source table that a storefront fills itself."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Column
from sqlalchemy.dialects.postgresql.base import PGDialect

from app.audience.sources import Source
from app.audience.tables import audience_members

BIGINT_MAX = 2**63 - 1

SELLER = "seller_id"
EMAIL = "email"
TEXT = "text"
BOOLEAN = "boolean"
INSTANT = "timestamp with time zone"
INTEGERS = ("bigint", "integer")

_DIALECT = PGDialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it bare


@dataclass(frozen=True)
class SourceColumn:
    """One column of a source table.

    ``type`` is PostgreSQL's name. ``default`` is the text of what a row has
    that does not say, ``None`` where that is null or where it has to say.
    """

    name: str
    type: str
    is_nullable: bool
    default: str | None

    @property
    def is_required(self) -> bool:
        """Whether every row has to say it."""
        return not self.is_nullable and self.default is None


@cache
def fed_columns(source: Source) -> dict[str, SourceColumn]:
    """Return the columns of ``source.table`` by name: without ``id`` and ``member_email``.

    Those two are made here.
    """
    table = audience_members.metadata.tables[source.table]
    return {
        column.name: _source_column(column)
        for column in table.columns
        if column.identity is None and column.computed is None
    }


def _source_column(column: Column[Any]) -> SourceColumn:
    default = getattr(column.server_default, "arg", None)
    return SourceColumn(
        name=column.name,
        type=column.type.compile(_DIALECT).lower(),
        is_nullable=bool(column.nullable),
        default=None if default is None else str(default),
    )
