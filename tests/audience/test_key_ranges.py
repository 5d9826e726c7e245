"""Key ranges: cut at sampled addresses, and together every address once."""

from itertools import chain

import pytest

from app.audience.key_ranges import ALL_KEYS, BOUNDARIES, SAMPLE, KeyRange, literal, ranges_between
from app.database.connections import Connection
from app.database.statements import compile_statement
from tests.audience.storefront import SELLER

AWKWARD = ["", "a", "o'brien@x.co", "back\\slash", "'\\'", "ñandú@x.co", "{brace}@x.co", "~"]

FOLLOW_SAMPLED = f"""
    INSERT INTO followers (seller_id, email, created_at, confirmed_at)
    SELECT $1, email, now(), now()
    FROM (SELECT 'member' || number || '@x.co' AS email FROM generate_series(1, 40_000) AS number)
    WHERE {SAMPLE}
    RETURNING email
"""

FOLLOW_OTHERS = f"""
    INSERT INTO followers (seller_id, email, created_at, confirmed_at)
    SELECT seller_id + 1, email, created_at, confirmed_at
    FROM followers
    WHERE hashtext(email) & 1024 = 0
    UNION ALL
    SELECT {SELLER}, email, now(), now()
    FROM (SELECT 'other' || number || '@x.co' AS email FROM generate_series(1, 50) AS number)
    WHERE NOT ({SAMPLE})
"""


async def test_the_sample_is_what_its_index_has(connection: Connection) -> None:
    condition = await connection.fetchval("""
        SELECT pg_get_expr(indpred, indrelid)
        FROM pg_index
        WHERE indexrelid = 'audience_members_sample_idx'::regclass
    """)
    assert bare(condition) == bare(SAMPLE)


def bare(condition: str) -> str:
    """Return a condition without the parentheses that PostgreSQL adds."""
    return condition.replace("(", "").replace(")", "")


@pytest.mark.parametrize("setting", ["on", "off"])
async def test_a_backslash_is_one_whatever_the_setting(
    connection: Connection, setting: str
) -> None:
    await connection.execute(f"SET standard_conforming_strings = {setting}")
    for text in AWKWARD:
        assert await connection.fetchval(f"SELECT {literal(text)}") == text


async def test_the_ranges_between_boundaries_hold_every_address_once_and_in_order(
    connection: Connection,
) -> None:
    boundaries = ["a", "o'brien@x.co", "{brace}@x.co"]
    found = []
    for keys in ranges_between(boundaries):
        rows = await connection.fetch(
            f"""
            SELECT email
            FROM (SELECT each COLLATE "C" AS email FROM unnest($1::text[]) AS each) AS members
            WHERE true{keys.condition}
            ORDER BY email
            """,
            AWKWARD,
        )
        found.append([row["email"] for row in rows])
    assert [part[:1] for part in found[1:]] == [[boundary] for boundary in boundaries]
    assert list(chain.from_iterable(found)) == sorted(AWKWARD, key=str.encode)


def test_without_boundaries_one_range_has_all() -> None:
    assert ranges_between([]) == [ALL_KEYS] == [KeyRange(None, None)]
    assert ALL_KEYS.condition == ""


async def test_the_boundaries_are_evenly_spaced_among_the_sellers_sampled_addresses(
    connection: Connection,
) -> None:
    sampled = [row["email"] for row in await connection.fetch(FOLLOW_SAMPLED, SELLER)]
    assert len(sampled) > 20
    await connection.execute(FOLLOW_OTHERS)
    boundaries = compile_statement(f"SELECT {BOUNDARIES}")
    values = {"seller_id": SELLER, "samples": 7}
    found = await connection.fetchval(
        boundaries.sql, *(values[name] for name in boundaries.parameters)
    )
    assert found == sorted(sampled)[6::7]
