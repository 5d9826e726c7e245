"""The schema: is it the code's, may this role use it, do the triggers fire."""

from pathlib import Path

from alembic.script import ScriptDirectory

from app.audience.sources import SOURCES
from app.audience.tables import audience_members
from app.database import Connection
from app.doctor.findings import Finding, failure, ok, warning
from app.models import export_audit, metadata

MIGRATIONS = Path(__file__).parents[2] / "migrations"
"""Beside ``app``, in the repository as in an installed wheel."""

UPGRADE = "run: alembic upgrade head"

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
SOURCE_TABLES = {source.table for source in SOURCES}
LESS = {audience_members.name: ("SELECT",), export_audit.name: ("SELECT", "INSERT", "UPDATE")}
"""What is enough for these tables; source tables belong to the storefront."""

VERSIONS = "SELECT array_agg(version_num) FROM alembic_version"

MISSING = """
SELECT format('%s on %s', string_agg(privilege, ', ' ORDER BY place), name) AS missing
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS needed (name, privilege, place)
WHERE NOT coalesce(has_table_privilege(to_regclass(name), privilege), false)
GROUP BY name
ORDER BY name
"""

SILENT = """
SELECT DISTINCT tgrelid::regclass::text AS name
FROM pg_trigger
WHERE tgrelid = ANY (ARRAY(SELECT to_regclass(name) FROM unnest($1::text[]) AS name))
    AND tgenabled = 'D'
ORDER BY name
"""


async def examine(connection: Connection) -> list[Finding]:
    """Return whether the schema fits; the rest only once there is one."""
    migrations = await _migrations(connection)
    if migrations.advice == UPGRADE:
        return [migrations]
    return [migrations, await _privileges(connection), await _triggers(connection)]


async def _migrations(connection: Connection) -> Finding:
    check = "database.migrations"
    readable = await connection.fetchval(
        "SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')"
    )
    if readable is None:
        return failure(check, "The schema is not there.", UPGRADE)
    if not readable:
        detail = "This role may not read alembic_version: the schema's age is unknown."
        return warning(check, detail, "GRANT SELECT ON alembic_version to it")
    return compare(set(await connection.fetchval(VERSIONS) or ()))


def compare(present: set[str]) -> Finding:
    """Return what the revisions that the database is at mean to this code."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    heads = set(scripts.get_heads())
    known = {script.revision for script in scripts.walk_revisions()}
    if present == heads:
        return ok("database.migrations", f"The schema is the code's ({', '.join(heads)}).")
    if present - known:
        detail = "The schema is newer than this code, as in the middle of an upgrade."
        return warning("database.migrations", detail, "bring this installation up to date")
    return failure("database.migrations", "The schema is older than this code.", UPGRADE)


async def _privileges(connection: Connection) -> Finding:
    needed = [
        (name, privilege)
        for name in sorted(metadata.tables.keys() - SOURCE_TABLES)
        for privilege in LESS.get(name, ALL)
    ]
    names, privileges = zip(*needed, strict=True)
    missing = [row["missing"] for row in await connection.fetch(MISSING, names, privileges)]
    if missing:
        detail = f"This role lacks {'; '.join(missing)}."
        return failure("database.privileges", detail, "GRANT them, or use the schema's owner")
    return ok("database.privileges", "This role may do what the service does.")


async def _triggers(connection: Connection) -> Finding:
    silent = [row["name"] for row in await connection.fetch(SILENT, sorted(SOURCE_TABLES))]
    if silent:
        detail = f"Triggers are disabled on {', '.join(silent)}: audience_members drifts."
        advice = "ALTER TABLE … ENABLE TRIGGER as the migration did; then audience-export rebuild"
        return failure("database.triggers", detail, advice)
    return ok("database.triggers", "The triggers that keep audience_members are there.")
