"""The schema: its migrations, this role's privileges, the triggers of the projection."""

from pathlib import Path

from alembic.script import ScriptDirectory

from app.audience import triggers
from app.audience.distribution import MEMBERS, distributed_tables
from app.audience.sources import SOURCES
from app.audience.tables import SOURCE_TABLES, audience_members
from app.audience.trigger_tables import SHARD_TABLES
from app.database.database import Queryable
from app.database.rights import missing_schema_rights
from app.doctor.findings import CheckResult, failure, ok, warning
from app.models import export_audit, metadata

MIGRATIONS = Path(__file__).parents[2] / "migrations"
"""Next to ``app``, both in the repository and in an installed wheel."""

UPGRADE = "run: alembic upgrade head"

ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")
REDUCED = {audience_members.name: ("SELECT",), export_audit.name: ("SELECT", "INSERT", "UPDATE")}
"""Tables that need fewer privileges than ``ALL``."""

VERSIONS = "SELECT version_num FROM alembic_version"

MAY_STAGE = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"

# coalesce: to_regclass() is null for a table that does not exist, which lacks every privilege.
MISSING = """
SELECT format('%s on %s', string_agg(privilege, ', ' ORDER BY position), name) AS missing
FROM unnest(CAST(:names AS text[]), CAST(:privileges AS text[]))
    WITH ORDINALITY AS needed (name, privilege, position)
WHERE NOT coalesce(has_table_privilege(to_regclass(name), privilege), false)
GROUP BY name
ORDER BY name
"""

DISABLED_TRIGGERS = """
SELECT DISTINCT tgrelid::regclass::text AS name
FROM pg_trigger
WHERE tgrelid = ANY (ARRAY(SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS name))
    AND tgenabled = 'D'
ORDER BY name
"""


FUNCTIONS = """
SELECT proname, prosrc FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND starts_with(proname, 'audience_')
"""

INSTALL = "add the migration of a new source: docs/audience.md"

REPLACE = "add a migration that replaces them: docs/audience.md"
DISTRIBUTE = "run: audience-export distribute"


async def check(database: Queryable) -> list[CheckResult]:
    """Return the findings about the schema; only the first where there is none."""
    migrations = await _migrations(database)
    if migrations.advice == UPGRADE:
        rights = await missing_schema_rights(database)
        return (
            [failure(migrations.check, f"{migrations.detail} {rights}", UPGRADE)]
            if rights
            else [migrations]
        )
    return [
        migrations,
        await _privileges(database),
        await _triggers(database),
        await _projection(database),
    ]


async def _projection(database: Queryable) -> CheckResult:
    name = "database.projection"
    installed = {
        row["proname"]: _normalise_spaces(row["prosrc"]) for row in await database.fetch(FUNCTIONS)
    }
    distributed = await distributed_tables(database)
    tables = SHARD_TABLES if distributed else None
    expected = {source.key: triggers.bodies(source, tables) for source in SOURCES}
    absent = [key for key, bodies in expected.items() if bodies.keys() - installed.keys()]
    outdated = [
        key
        for key, bodies in expected.items()
        if key not in absent
        and any(installed[each] != _normalise_spaces(bodies[each]) for each in bodies)
    ]
    if absent:
        return failure(name, f"No migration has installed {', '.join(absent)}.", INSTALL)
    if outdated:
        detail = f"The triggers of {', '.join(outdated)} differ from this code's."
        return warning(name, detail, DISTRIBUTE if distributed else REPLACE)
    if distributed and (local := {MEMBERS, *SOURCE_TABLES} - distributed):
        detail = f"Not distributed like the others: {', '.join(sorted(local))}; writes fail."
        return failure(name, detail, DISTRIBUTE)
    return ok(name, "The triggers of every source are this code's.")


def _normalise_spaces(text: str) -> str:
    """Return a text with every run of white space as one space."""
    return " ".join(text.split())


async def _migrations(database: Queryable) -> CheckResult:
    name = "database.migrations"
    ((readable,),) = await database.fetch(
        "SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')"
    )
    if readable is None:
        return failure(name, "The database has no schema yet.", UPGRADE)
    if not readable:
        detail = "This role may not read alembic_version: the schema's version is unknown."
        return warning(name, detail, "GRANT SELECT ON alembic_version to this role")
    return compare({row["version_num"] for row in await database.fetch(VERSIONS)})


def compare(present: set[str]) -> CheckResult:
    """Return the finding for a database that is at the revisions ``present``."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    heads = set(scripts.get_heads())
    revisions = {script.revision for script in scripts.walk_revisions()}
    if present == heads:
        return ok("database.migrations", f"The schema is up to date ({', '.join(heads)}).")
    if present - revisions:
        detail = "The schema is newer than this code, as during an upgrade."
        return warning("database.migrations", detail, "upgrade this installation")
    return failure("database.migrations", "The schema is older than this code.", UPGRADE)


async def _privileges(database: Queryable) -> CheckResult:
    needed = [
        (name, privilege)
        for name in sorted(metadata.tables)
        for privilege in REDUCED.get(name, ALL)
    ]
    names, privileges = zip(*needed, strict=True)
    rows = await database.fetch(MISSING, names=names, privileges=privileges)
    missing = [row["missing"] for row in rows]
    ((may_stage,),) = await database.fetch(MAY_STAGE)
    if not may_stage:
        missing.append("TEMPORARY on the database, for imports")
    if missing:
        detail = f"This role lacks {'; '.join(missing)}."
        return failure("database.privileges", detail, "GRANT them, or use the schema's owner")
    return ok("database.privileges", "This role has every privilege that the service needs.")


async def _triggers(database: Queryable) -> CheckResult:
    rows = await database.fetch(DISABLED_TRIGGERS, tables=sorted(SOURCE_TABLES))
    disabled = [row["name"] for row in rows]
    if disabled:
        detail = f"Triggers are disabled on {', '.join(disabled)}: audience_members drifts."
        advice = "ALTER TABLE … ENABLE TRIGGER as the migration did; then audience-export rebuild"
        return failure("database.triggers", detail, advice)
    return ok("database.triggers", "The triggers that maintain audience_members are enabled.")
