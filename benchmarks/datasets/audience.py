"""Millions of members, inserted directly into ``audience_members``.

The rows, and their order, are those that the triggers would produce from devstack's
seed, so the index is as full; this takes a tenth of the time.
"""

from app.database.database import DatabaseConnection, open_connection
from devstack.seed import NEWEST_AT, PEOPLE, PEOPLE_PER_STATEMENT, TABLE

COLUMNS = """
        lower(btrim(email) COLLATE pg_unicode_fast) COLLATE "C" AS email,
        CASE WHEN number % 100 < 60 THEN met_at END AS follower_since,
        CASE
            WHEN number % 100 >= 40 THEN met_at + INTERVAL '23 days 5 hours'
        END AS customer_since,
        CASE
            WHEN number % 100 IN (12, 55, 91) THEN met_at + INTERVAL '90 days'
        END AS affiliate_since
"""
"""The member that the triggers would produce from one of ``people``."""

MEMBERS = f"""
    INSERT INTO audience_members (
        seller_id, email, follower_since, customer_since, affiliate_since
    )
    SELECT seller_id, {COLUMNS}
    FROM people
    CROSS JOIN generate_series(
        CAST(:first_seller AS bigint), CAST(:last_seller AS bigint)
    ) AS seller_id
    ORDER BY 1, 2
"""


async def load(database_url: str, seller_id: int, members: int) -> None:
    """Insert ``members`` members of one seller."""
    async with open_connection(database_url, command_timeout_s=None) as connection:
        await connection.execute(TABLE)
        for start in range(1, members + 1, PEOPLE_PER_STATEMENT):
            end = min(start + PEOPLE_PER_STATEMENT - 1, members)
            await _add(connection, (start, end), (seller_id, seller_id))
        await connection.execute("VACUUM (ANALYZE) audience_members")


async def load_small(database_url: str, sellers: range, members: int) -> None:
    """Insert the same ``members`` members for each of ``sellers``."""
    async with open_connection(database_url, command_timeout_s=None) as connection:
        await connection.execute(TABLE)
        await _add(connection, (1, members), (sellers[0], sellers[-1]))
        await connection.execute("VACUUM (ANALYZE) audience_members")


async def _add(
    connection: DatabaseConnection, people: tuple[int, int], sellers: tuple[int, int]
) -> None:
    (first, last), (first_seller, last_seller) = people, sellers
    await connection.execute("TRUNCATE people")
    await connection.execute(PEOPLE, newest_at=NEWEST_AT, first=first, last=last)
    await connection.execute(MEMBERS, first_seller=first_seller, last_seller=last_seller)
