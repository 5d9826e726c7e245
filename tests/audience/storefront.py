"""The storefront's side of the source tables: rows with the defaults a test does not care about."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.database.connections import Connection
from app.database.database import DatabaseConnection
from tests.oracle import Members

SELLER = 1
DAY = datetime(2026, 3, 1, 10, 20, 30, 987_654, tzinfo=UTC)
CUT = DAY.replace(microsecond=0)
LATER = DAY + timedelta(days=1)
CUT_LATER = CUT + timedelta(days=1)

DEFAULTS: dict[str, dict[str, Any]] = {
    "followers": {"confirmed_at": DAY},
    "purchases": {"state": "successful"},
    "affiliates": {},
}


class Storefront:
    """Writes source rows through one connection, and reads back who is a member."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @property
    def database(self) -> DatabaseConnection:
        """The same connection, as the application takes it."""
        return DatabaseConnection(self.connection)

    async def insert(self, table: str, **columns: Any) -> int:
        """Insert one row and return its id."""
        row = {"seller_id": SELLER, "created_at": DAY} | DEFAULTS[table] | columns
        names = ", ".join(row)
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        inserted: int = await self.connection.fetchval(
            f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id", *row.values()
        )
        return inserted

    async def follow(self, email: str | None, **columns: Any) -> int:
        """Insert a confirmed follower."""
        return await self.insert("followers", email=email, **columns)

    async def buy(self, email: str | None, **columns: Any) -> int:
        """Insert a successful purchase."""
        return await self.insert("purchases", email=email, **columns)

    async def subscribe(self, email: str | None, **columns: Any) -> int:
        """Insert the original purchase of a subscription."""
        return await self.buy(
            email, **{"subscription_id": 7, "is_original_subscription": True} | columns
        )

    async def refer(self, email: str | None, **columns: Any) -> int:
        """Insert a direct affiliate."""
        return await self.insert("affiliates", email=email, **columns)

    async def change(self, table: str, row_id: int, **columns: Any) -> None:
        """Update one row."""
        assignments = ", ".join(f"{name} = ${place}" for place, name in enumerate(columns, 2))
        await self.connection.execute(
            f"UPDATE {table} SET {assignments} WHERE id = $1", row_id, *columns.values()
        )

    async def delete(self, table: str, row_id: int) -> None:
        """Delete one row."""
        await self.connection.execute(f"DELETE FROM {table} WHERE id = $1", row_id)

    async def rows(self, table: str) -> list[Mapping[str, Any]]:
        """Return all rows of a table."""
        return [dict(row) for row in await self.connection.fetch(f"SELECT * FROM {table}")]

    async def members(self) -> Members:
        """Return everyone in ``audience_members``, in the oracle's shape."""
        return {
            (row["seller_id"], row["email"]): {
                name.removesuffix("_since"): date.replace(tzinfo=UTC)
                for name, date in row.items()
                if name.endswith("_since") and date is not None
            }
            for row in await self.rows("audience_members")
        }

    async def addresses(self) -> list[str]:
        """Return the addresses of the seller's members, sorted."""
        return sorted(email for seller, email in await self.members() if seller == SELLER)
