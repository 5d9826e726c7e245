"""The metadata of all tables with its naming convention, and factories of common columns."""

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


def timestamp_column(name: str, *, default: bool = False) -> Column[datetime]:
    """Return a ``timestamptz`` column: nullable, or with ``default`` the time of the insert."""
    return Column(
        name,
        DateTime(timezone=True),
        nullable=not default,
        # Not now(): a transaction that waited for a lock would be dated before what it waited for.
        server_default=text("clock_timestamp()") if default else None,
    )


def count_column(name: str) -> Column[int]:
    """Return a ``bigint`` column for a number of rows; the default is 0."""
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def counter_column(name: str) -> Column[int]:
    """Return an ``integer`` column for a counter; the default is 0."""
    return Column(name, Integer, nullable=False, server_default=text("0"))
