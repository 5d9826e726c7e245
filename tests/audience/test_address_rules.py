"""Which addresses are valid, and what they become: the oracle and PostgreSQL agree."""

import sys
import unicodedata
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audience.address_rules import ADDRESS_FUNCTION, UNUSUAL_FUNCTION
from app.database.connections import Connection, connect
from devstack.postgres import PostgresServer
from tests.oracle import address

LOCAL_243 = "a" * 243
VALID = {
    "a@x.co": "a@x.co",
    "=cmd@x.co": "=cmd@x.co",
    "josé@x.co": "josé@x.co",
    "JOSÉ@X.CO": "josé@x.co",
    " \t\n\v\f\rAnn@Example.COM\r\f\v\n\t ": "ann@example.com",
    "a.b.c@x.co": "a.b.c@x.co",
    "a+tag@x.co": "a+tag@x.co",
    "a@a.b.c.info": "a@a.b.c.info",
    "a@x-1.co": "a@x-1.co",
    "a@1.co": "a@1.co",
    "a'b{c}|d@x.co": "a'b{c}|d@x.co",
    "\u00a0\u2003\u3000Ann@x.co\u0085\u2028\u1680": "ann@x.co",
    "\ufeff\u200bAnn@x.co\u200d\u2060\u00ad\u200f": "ann@x.co",
    "\u200b \u00a0\ufeff Ann@x.co \u200b\u00a0": "ann@x.co",
    "jose\u0301@x.co": "josé@x.co",
    "\u212bngstrom@x.co": "ångstrom@x.co",
    "ann@münchen.example": "ann@münchen.example",
    "ann@mu\u0308nchen.example": "ann@münchen.example",
    "ann@MÜNCHEN.Example": "ann@münchen.example",
    "ann@xn--e1afmkfd.xn--p1ai": "ann@xn--e1afmkfd.xn--p1ai",
    "Ann@XN--E1AFMKFD.XN--P1AI": "ann@xn--e1afmkfd.xn--p1ai",
    "иван@пример.рф": "иван@пример.рф",
    "用户@例子.中国": "用户@例子.中国",
    "\u0909@\u0939\u093f\u0928\u094d\u0926\u0940.\u092d\u093e\u0930\u0924": (
        "\u0909@\u0939\u093f\u0928\u094d\u0926\u0940.\u092d\u093e\u0930\u0924"
    ),
    "a@x.cö": "a@x.cö",
    "a@xé.co": "a@xé.co",
    "a@x.xn--a-1": "a@x.xn--a-1",
    '"a\u00a0b"@x.co': '"a\u00a0b"@x.co',
    "ÁΣ@x.co": "áς@x.co",
    "İ@x.co": "i̇@x.co",
    "a@\u212a.co": "a@k.co",
    "🦊@x.co": "🦊@x.co",
    '"A b"@x.co': '"a b"@x.co',
    '""@x.co': '""@x.co',
    '"a@b"@x.co': '"a@b"@x.co',
    r'"a\"b"@x.co': r'"a\"b"@x.co',
    r'"a\\"@x.co': r'"a\\"@x.co',
    '".a..b."@x.co': '".a..b."@x.co',
    "a@[1.2.3.4]": "a@[1.2.3.4]",
    "a@[255.255.255.255]": "a@[255.255.255.255]",
    "a@[0.0.0.0]": "a@[0.0.0.0]",
    '"a b"@[1.2.3.4]': '"a b"@[1.2.3.4]',
    f"{LOCAL_243}@example.com": f"{LOCAL_243}@example.com",
    f"  {LOCAL_243}@example.com  ": f"{LOCAL_243}@example.com",
    f"{'é' * 243}@example.com": f"{'é' * 243}@example.com",
}

INVALID = [
    "",
    " ",
    "a",
    "a@",
    "@x.co",
    "a@x",
    "a@localhost",
    "é@localhost",
    "a@xn--p1ai",
    "é@xn--p1ai",
    ".a@x.co",
    "a.@x.co",
    "a..b@x.co",
    "a b@x.co",
    "a\tb@x.co",
    "a\nb@x.co",
    "a@@x.co",
    "a@b@x.co",
    *(f"a{character}b@x.co" for character in '()[],<>;:\\"'),
    "a@.co",
    "a@x..co",
    "a@x.co.",
    "a@x.c",
    "a@x.c0",
    "a@x.co1",
    "a@x_y.co",
    "a@x y.co",
    *(
        f"a{unseen}b@x.co"
        for unseen in "\x01\x1f\x7f\x85\u2028\u2029\u200b\u200d\u202e\u2060\ufeff\xad"
    ),
    *(f'"a{unseen}b"@x.co' for unseen in "\x01\t\u2028\u200b\u202e\ufeff"),
    *(f"a@x{unseen}y.co" for unseen in "\u200b\u00a0\u00ad\u3002"),
    "a\u00a0b@x.co",
    "a\u3000b@x.co",
    "a@🦊.co",
    "a@x.xn--",
    "a@x.xn-a",
    "a@x.中",
    "a@x.4é",
    '"a@x.co',
    'a"@x.co',
    '"a"b"@x.co',
    '"a"b@x.co',
    r'"a\"@x.co',
    '"a\x01"@x.co',
    '"a\tb"@x.co',
    '"a\x7f"@x.co',
    '"a\x85"@x.co',
    '"a\\\nb"@x.co',
    "a@[1.2.3.256]",
    "a@[1.2.3]",
    "a@[1.2.3.4.5]",
    "a@[1.2.3.]",
    "a@[1.2.3.0004]",
    "a@[1.2.3.4",
    "a@1.2.3.4",
    "a@[::1]",
    "a@x.co\nb",
    f"{LOCAL_243}a@example.com",
    f"İ{'a' * 242}@example.com",
]


@pytest.fixture(scope="module")
async def connection(postgres: PostgresServer, migrated_template: str) -> AsyncIterator[Connection]:
    """A connection to one database for all tests here, which only ask what a rule makes.

    It has the code's rule, not the migrations': tests/migrations shows that they are the same.
    """
    url = postgres.create_database("address_rules", template=migrated_template)
    connection = await connect(url)
    await connection.execute(UNUSUAL_FUNCTION)
    await connection.execute(ADDRESS_FUNCTION)
    yield connection
    await connection.close()
    postgres.drop_database("address_rules")


async def projected(connection: Connection, email: str | None) -> str | None:
    """Return the address that PostgreSQL makes of ``email``."""
    made: str | None = await connection.fetchval("SELECT audience_address($1)", email)
    return made


@pytest.mark.parametrize(("email", "normalised"), VALID.items())
async def test_a_valid_address_is_normalised(
    connection: Connection, email: str, normalised: str
) -> None:
    assert address(email) == normalised
    assert await projected(connection, email) == normalised


@pytest.mark.parametrize("email", INVALID)
async def test_an_invalid_address_becomes_null(connection: Connection, email: str) -> None:
    assert address(email) is None
    assert await projected(connection, email) is None


async def test_no_address_stays_none(connection: Connection) -> None:
    assert await projected(connection, None) is None


async def test_a_normalised_address_normalises_to_itself(connection: Connection) -> None:
    for normalised in VALID.values():
        assert await projected(connection, normalised) == normalised


async def test_no_statement_reads_the_rule_of_unusual_addresses_in_vain(
    connection: Connection,
) -> None:
    """A function with a setting is not inlined, and not read to find that out.

    Without one, each row of logical replication took 0.3 ms instead of 0.03.
    """
    functions = "SELECT proname, proconfig, length(pg_get_functiondef(oid)) FROM pg_proc"
    rows = await connection.fetch(f"{functions} WHERE proname ~ '^audience_.*address$'")
    assert {row["proname"]: row["proconfig"] is None for row in rows} == {
        "audience_address": True,
        "audience_unusual_address": False,
    }
    assert all(row["length"] < 1000 for row in rows if row["proconfig"] is None)


async def test_the_rule_is_inlined_into_the_generated_column(connection: Connection) -> None:
    plan = await connection.fetch("EXPLAIN VERBOSE SELECT audience_address(email) FROM followers")
    assert "audience_address" not in "".join(row[0] for row in plan)


characters = st.characters(exclude_categories=("Cs", "Cn", "Co"), exclude_characters="\0")
"""All that Python's Unicode tables know: PostgreSQL's are as new or newer."""

pieces = st.one_of(
    st.sampled_from(['"', '"a"', "\\", '\\"', "@", ".", "..", "a", "B", "é", "Σ", "İ", "-", "_"]),
    st.sampled_from(["x.co", "@x.co", "X.Info", "[1.2.3.4]", "@[255.0.0.256]", "a.b"]),
    st.sampled_from([" ", "\t", "\x7f", "\u00a0"]),
    st.text(characters, max_size=3),
)
emails = st.one_of(
    st.lists(pieces, max_size=8).map("".join),
    st.builds("{}@x.co".format, st.text(characters, min_size=1, max_size=12)),
    st.builds('"{}"@x.co'.format, st.text(characters, max_size=12)),
    st.builds("a@{}.co".format, st.text(characters, min_size=1, max_size=12)),
    st.builds("{}@x.co".format, st.text("aİ.", min_size=235, max_size=256)),
)


@settings(max_examples=200)
@given(batch=st.lists(emails, min_size=1, max_size=30))
async def test_any_text_means_the_same_to_the_oracle_and_to_postgresql(
    connection: Connection, batch: list[str]
) -> None:
    made = await connection.fetch(
        "SELECT audience_address(email) FROM unnest($1::text[]) WITH ORDINALITY AS t (email, n)"
        " ORDER BY n",
        batch,
    )
    assert [row[0] for row in made] == [address(email) for email in batch]


async def test_every_letter_is_lower_cased_as_python_does(connection: Connection) -> None:
    letters = [
        chr(code)
        for code in range(0x80, sys.maxunicode + 1)
        if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")
    ]
    lowered = await connection.fetch(
        "SELECT letter, lower(letter COLLATE pg_unicode_fast) FROM unnest($1::text[]) AS letter",
        letters,
    )
    assert {row[0]: row[1] for row in lowered if row[1] != row[0].lower()} == {}
