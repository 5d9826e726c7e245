"""What the tables have in common: their catalogue, and columns that recur."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, DateTime, Integer, MetaData, text

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)


def instant(name: str, *, default: bool = False) -> Column[datetime]:
    """An aware instant: null until it is known, or the time of the insert by ``default``."""
    return Column(
        name,
        DateTime(timezone=True),
        nullable=not default,
        server_default=text("clock_timestamp()") if default else None,
    )


def count(name: str) -> Column[int]:
    """A number of rows, from 0."""
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def tally(name: str) -> Column[int]:
    """A small number that grows one by one, from 0."""
    return Column(name, Integer, nullable=False, server_default=text("0"))
