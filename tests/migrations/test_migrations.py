"""The migrations make the schema that the models and the registry describe, up and down."""

import ast
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.audience import projection, tables, triggers
from app.database.connections import connect, create_engine
from app.database.database import Database
from tests.migrations.schema import ROOT, advice, alembic, described, missing, reinstall, run

SCRIPTS = ScriptDirectory(str(ROOT / "migrations"))
FILES = [Path(script.path) for script in SCRIPTS.walk_revisions()]

NEEDED = {"pathlib", "alembic", "sqlalchemy"}
OF_A_NEW_SOURCE = {"app.audience", "app.audience.sources"}


async def inspected(url: str, inspect: Callable[[Connection], list[object]]) -> list[object]:
    """Return what ``inspect`` finds."""
    database = Database(create_engine(url, pool_size=1))
    async with database.engine.connect() as connection:
        found = await connection.run_sync(inspect)
    await database.close()
    return found


def differences(connection: Connection) -> list[object]:
    """Return what an automatic migration to the models would do."""
    context = MigrationContext.configure(
        connection,
        opts={
            "compare_server_default": True,
            "compare_type": True,
            "include_name": tables.is_ours,
        },
    )
    found: list[object] = compare_metadata(context, tables.audience_members.metadata)
    return found


async def test_the_migrations_make_what_the_models_say(database_url: str) -> None:
    assert await inspected(database_url, differences) == []


async def test_the_migrations_make_what_the_registry_says(database_url: str) -> None:
    statements = await missing_sql(database_url)
    assert statements == [], advice(str(SCRIPTS.get_current_head()), statements)


async def missing_sql(url: str) -> list[str]:
    """Return what a migration would have to run so that ``url`` has the code's projection."""
    migrated = await described(url)
    connection = await connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await reinstall(connection)
    await transaction.commit()
    await connection.close()
    return missing(migrated, await described(url))


async def test_a_change_of_the_projection_says_which_migration_is_missing(
    empty_database_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "_RAISE_REVIVED", "RAISE NOTICE 'again';")
    monkeypatch.setattr(triggers, "_ENABLED", {"truncated": "ALWAYS", "replicated": "ALWAYS"})
    tuned = projection._TUNE_AUTOVACUUM.replace("= 90", "= 80")
    monkeypatch.setattr(projection, "_TUNE_AUTOVACUUM", tuned)
    columns = projection._FOLLOW_COLUMNS.replace("1023", "511")
    monkeypatch.setattr(projection, "_FOLLOW_COLUMNS", columns)
    alembic(empty_database_url, "upgrade", "head")
    statements = await missing_sql(database_url)
    message = advice("0007", statements)
    assert "down_revision = '0007'" in message
    assert "CREATE OR REPLACE FUNCTION public.audience_customer_updated()" in message
    assert "ALTER TABLE followers ENABLE ALWAYS TRIGGER audience_replicated" in message
    connection = await connect(empty_database_url)
    await run(connection, statements)
    await connection.close()
    assert missing(await described(empty_database_url), await described(database_url)) == []


def test_a_changed_rule_asks_for_its_source_to_be_installed_again() -> None:
    old = ("column", "followers", "member_email", "text s old rule")
    new = ("column", "followers", "member_email", "text s new rule")
    assert missing([old], [new]) == [
        "-- followers.member_email: remove and install of its source (text s new rule);"
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_migration_says_for_how_long_it_locks(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert "ocks" in docstring or "Waits" in docstring


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_migration_stands_alone(path: Path) -> None:
    """That of a new source may call ``projection.install``, and nothing else of the service."""
    tree = ast.parse(path.read_text())
    service = {name for name in imported(tree) if name.partition(".")[0] not in NEEDED}
    calls = ast.unparse(tree).count("projection.install(")
    assert not service or (service == OF_A_NEW_SOURCE and calls == 1)


def imported(tree: ast.Module) -> set[str]:
    """Return the modules that a file imports, anywhere in it."""
    nodes = list(ast.walk(tree))
    plain = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    return plain | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


async def test_the_migrations_go_up_down_and_up_again(empty_database_url: str) -> None:
    alembic(empty_database_url, "upgrade", "head")
    first = await described(empty_database_url)
    alembic(empty_database_url, "downgrade", "base")
    assert await described(empty_database_url) == []
    alembic(empty_database_url, "upgrade", "head")
    assert await described(empty_database_url) == first


async def test_the_printed_sql_makes_the_same(empty_database_url: str, database_url: str) -> None:
    printed = alembic("postgresql://nowhere", "upgrade", "head", "--sql").stdout
    connection = await connect(empty_database_url)
    await connection.execute(printed)
    await connection.close()
    assert await described(empty_database_url) == await described(database_url)


async def test_there_is_one_newest_migration(database_url: str) -> None:
    heads = alembic(database_url, "heads").stdout.split("\n")[:-1]
    assert len(heads) == 1
    assert [f"{row} (head)" for row in await inspected(database_url, versions)] == heads


def versions(connection: Connection) -> list[object]:
    """Return the migrations that a database says it has."""
    return list(connection.scalars(text("SELECT version_num FROM alembic_version")))


async def test_a_migration_gives_up_when_it_waits_for_a_lock(
    empty_database_url: str,
) -> None:
    alembic(empty_database_url, "upgrade", "0001")
    connection = await connect(empty_database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("LOCK TABLE followers IN ACCESS SHARE MODE")
    with pytest.raises(subprocess.CalledProcessError) as failed:
        alembic(empty_database_url, "downgrade", "base")
    assert "lock timeout" in failed.value.stderr
    await transaction.rollback()
    await connection.close()
