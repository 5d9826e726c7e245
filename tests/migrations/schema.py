"""What a schema is made of, and the SQL that makes one schema the other."""

import subprocess
import sys
from pathlib import Path

from app.audience import projection
from app.audience.sources import SOURCES
from app.database.connections import Connection, connect
from devstack.sandbox import base_environment

ROOT = Path(__file__).parents[2]

DESCRIPTION = """
    SELECT 'column' AS kind, attrelid::regclass::text AS owner, attname::text AS name,
        concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attgenerated, attidentity,
            attcollation::regcollation, pg_get_expr(adbin, adrelid)) AS definition
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
        AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'table', oid::regclass::text, '', concat_ws(' ', relkind, option)
    FROM pg_class LEFT JOIN unnest(reloptions) AS option ON true
    WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text,
        pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indrelid IN (
        SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
    )
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text, tgname::text,
        concat_ws(' ', tgenabled, pg_get_triggerdef(oid))
    FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'function', '', oid::regprocedure::text, pg_get_functiondef(oid)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'publication', '', pubname::text, pg_publication::text FROM pg_publication
    ORDER BY 1, 2, 3, 4
"""
"""Everything of a schema that can be told apart, in a definition that SQL can use."""

Thing = tuple[str, str, str, str]
"""Kind, table, name and definition."""


def alembic(url: str, *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Alembic as an operator does: no setting but the database's address."""
    return subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        capture_output=True,
        check=True,
        text=True,
        cwd=root,
        env=base_environment() | {"DATABASE_URL": url},
    )


async def described(url: str) -> list[Thing]:
    """Return the schema of the database at ``url``, without Alembic's own table."""
    connection = await connect(url)
    rows = await connection.fetch(DESCRIPTION)
    await connection.close()
    return [
        (row["kind"], row["owner"], row["name"], row["definition"])
        for row in rows
        if "alembic_version" not in row["owner"]
    ]


async def reinstall(connection: Connection) -> None:
    """Replace the projection by what the code makes today."""
    for source in SOURCES:
        await run(connection, projection.remove(source))
    await run(connection, projection.drop_members() + projection.create_members())
    for source in SOURCES:
        await run(connection, projection.install(source))


async def run(connection: Connection, statements: list[str]) -> None:
    """Execute one statement after the other."""
    for statement in statements:
        await connection.execute(statement)


def missing(migrated: list[Thing], made: list[Thing]) -> list[str]:
    """Return the SQL that a migration has to run, so that ``migrated`` becomes ``made``.

    White space does not count: that of functions is kept by PostgreSQL.
    """
    present = {spaced(thing) for thing in migrated}
    wanted = {spaced(thing) for thing in made}
    drops = [thing for thing in migrated if spaced(thing) not in wanted]
    adds = [thing for thing in made if spaced(thing) not in present]
    named = {thing[:3] for thing in adds}
    gone = [dropped(thing) for thing in drops if thing[:3] not in named or thing[0] in REPLACED]
    return [f"{sql};" for sql in (*gone, *map(added, adds)) if sql]


REPLACED = ("index", "constraint", "trigger")
"""What is dropped and made again where it has changed."""

ENABLED = {"A": "ALWAYS ", "R": "REPLICA "}


def spaced(thing: Thing) -> tuple[str, ...]:
    """Return ``thing`` with one space wherever its definition has any white space."""
    return (*thing[:3], " ".join(thing[3].split()))


def dropped(thing: Thing) -> str:
    """Return the SQL that removes ``thing``."""
    kind, owner, name, definition = thing
    if kind == "table":
        option = definition[2:].partition("=")[0]
        return f"ALTER TABLE {owner} RESET ({option})" if option else f"DROP TABLE {owner}"
    if kind in ("column", "constraint"):
        return f"ALTER TABLE {owner} DROP {kind} {name}"
    if kind == "trigger":
        return f"DROP TRIGGER {name} ON {owner}"
    return f"DROP {kind} {name}"


def added(thing: Thing) -> str:
    """Return the SQL that makes ``thing``; for a source's rule, what to call."""
    kind, owner, name, definition = thing
    if kind == "table":
        return f"ALTER TABLE {owner} SET ({definition[2:]})"
    if kind == "column":
        return f"-- {owner}.{name}: remove and install of its source ({definition})"
    if kind == "constraint":
        return f"ALTER TABLE {owner} ADD CONSTRAINT {name} {definition}"
    if kind == "trigger":
        enabled = ENABLED.get(definition[0], "")
        made = definition[2:]
        return f"{made};\nALTER TABLE {owner} ENABLE {enabled}TRIGGER {name}"
    return definition


def advice(head: str, statements: list[str]) -> str:
    """Return what to do where the code makes another projection than the migrations."""
    sql = "\n".join(statements)
    return (
        "Databases that have been migrated do not follow this change of the projection."
        f" Add a migration with down_revision = {head!r} that runs, frozen in it:\n\n{sql}"
    )
