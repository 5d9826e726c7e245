"""Seed the source tables with a realistic audience.

People are numbered from 1. Of every 100, 60 follow, 60 have bought (20 do both)
and 3 are affiliates. There are also rows that do not count: unconfirmed and
deleted followers, refunded purchases. A buyer has one to three purchases. Some
addresses have capital letters or surrounding spaces, as web forms deliver them.
"""

from datetime import UTC, datetime

from app.database.database import open_connection

PEOPLE_PER_STATEMENT = 250_000

TABLE = "CREATE TEMPORARY TABLE people (number bigint, met_at timestamptz, email text)"

PEOPLE = """
    INSERT INTO people
    WITH named AS (
        SELECT
            number,
            lower(
                (ARRAY['maria', 'wei', 'josé', 'fatima', 'john', 'olga', 'yuki', 'amara',
                       'liam', 'chloe', 'ivan', 'priya', 'zoë', 'omar', 'anna', 'kofi'])
                    [1 + number * 7 % 16]
                || (ARRAY['.', '_', '-', ''])[1 + number * 3 % 4]
                || (ARRAY['garcia', 'chen', 'khan', 'smith', 'müller', 'ivanova', 'sato', 'okafor',
                          'brown', 'martin', 'silva', 'patel', 'kim', 'haddad', 'novak'])
                    [1 + number * 11 % 15]
                || number
                || (ARRAY['', '', '', '', '+shop'])[1 + number * 13 % 5]
                || '@'
                || (ARRAY['gmail.com', 'gmail.com', 'outlook.com', 'yahoo.co.uk', 'icloud.com',
                          'proton.me', 'web.de', 'example.org', 'mail.example.co.jp'])
                    [1 + number * 17 % 9]
                COLLATE pg_unicode_fast
            ) AS address,
            CAST(:newest_at AS timestamptz)
                - number * 7919 % 220_000_000 * INTERVAL '1 second' AS met_at
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS number
    )
    SELECT
        number,
        met_at,
        CASE number % 40
            WHEN 0 THEN upper(address COLLATE pg_unicode_fast)
            WHEN 1 THEN ' ' || address || ' '
            ELSE address
        END
    FROM named
"""

FOLLOWERS = """
    INSERT INTO followers (seller_id, email, created_at, confirmed_at, deleted_at)
    SELECT
        CAST(:seller_id AS bigint),
        email,
        met_at,
        CASE WHEN number % 100 < 60 OR number % 2 = 0 THEN met_at + INTERVAL '1 hour' END,
        CASE WHEN number % 100 >= 60 THEN met_at + INTERVAL '30 days' END
    FROM people
    WHERE number % 100 < 66
"""

PURCHASES = """
    INSERT INTO purchases (seller_id, email, created_at, state, refunded, can_contact)
    SELECT
        CAST(:seller_id AS bigint),
        email,
        met_at + nth * INTERVAL '23 days 5 hours',
        CASE WHEN number % 11 = 0 THEN 'not_charged' ELSE 'successful' END,
        CASE WHEN number % 100 < 40 THEN true END,
        true
    FROM people
    CROSS JOIN generate_series(0, 2) AS nth
    WHERE number % 100 >= 37 AND nth <= number % 3
"""

AFFILIATES = """
    INSERT INTO affiliates (seller_id, email, created_at, product_count)
    SELECT CAST(:seller_id AS bigint), email, met_at + INTERVAL '90 days', 1 + number % 4
    FROM people
    WHERE number % 100 IN (12, 55, 91)
"""

NEWEST_AT = datetime(2025, 6, 30, tzinfo=UTC)


async def seed(
    database_url: str, *, seller_id: int = 1, members: int = 100_000, first: int = 1
) -> None:
    """Give the seller ``members`` audience members, numbered from ``first``.

    A number is the same person for every seller. The tables are vacuumed and
    analysed at the end, as autovacuum would do later.
    """
    async with open_connection(database_url, command_timeout_s=None) as connection:
        await connection.execute(TABLE)
        for start in range(first, first + members, PEOPLE_PER_STATEMENT):
            end = min(start + PEOPLE_PER_STATEMENT, first + members) - 1
            await connection.execute("TRUNCATE people")
            await connection.execute(PEOPLE, newest_at=NEWEST_AT, first=start, last=end)
            for rows in (FOLLOWERS, PURCHASES, AFFILIATES):
                await connection.execute(rows, seller_id=seller_id)
        for table in ("followers", "purchases", "affiliates", "audience_members"):
            await connection.execute(f"VACUUM (ANALYZE) {table}")
