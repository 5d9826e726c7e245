"""SQL text with named parameters, as asyncpg takes it."""

import re
from functools import lru_cache
from typing import NamedTuple

# SQL comments are not recognised: an apostrophe in one would begin a literal, and hide the
# parameters after it.
TOKEN = re.compile(
    r"""
    '(?:[^']|'')*'                    # a literal, whose colons are its own
    | "(?:[^"]|"")*"                  # a quoted identifier
    | (?<![:\w]) : (?P<name>[a-z_]+)  # a parameter; not the type of a cast
    """,
    re.VERBOSE,
)

CACHED_TEXTS = 1024


class CompiledStatement(NamedTuple):
    """A statement for PostgreSQL: ``parameters`` are the names of ``$1``, ``$2``, … in order."""

    sql: str
    parameters: list[str]


@lru_cache(CACHED_TEXTS)
def compile_statement(sql: str) -> CompiledStatement:
    """Replace each ``:name`` in ``sql`` by a number; a name that recurs keeps its number.

    Literals and quoted identifiers are left as they are: a column's default, which the
    storefront declared, may hold ``:name``.
    """
    names = (token["name"] for token in TOKEN.finditer(sql))
    parameters = list(dict.fromkeys(name for name in names if name))

    def number(token: re.Match[str]) -> str:
        return f"${parameters.index(token['name']) + 1}" if token["name"] else token[0]

    return CompiledStatement(TOKEN.sub(number, sql), parameters)
