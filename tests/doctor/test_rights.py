"""A role with exactly the rights that *Before the first export* names, and with fewer."""

import subprocess
from collections.abc import Iterator

import pytest

from app.database.connections import connect
from app.doctor import database
from devstack.postgres import PostgresServer
from tests.doctor.installation import Installation, failed, found, warned
from tests.migrations.schema import alembic
from tests.roles import PASSWORD, Role

HOSTILE = {"search_path": "nowhere", "standard_conforming_strings": "off"}


@pytest.fixture
def owner(postgres: PostgresServer, empty_database_url: str) -> Iterator[Role]:
    """A role that may create in ``public``, and nothing else."""
    role = limited_role(postgres, empty_database_url)
    postgres.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {role.name}", role.database)
    yield role
    drop(role)


@pytest.fixture
def stranger(postgres: PostgresServer, empty_database_url: str) -> Iterator[Role]:
    """A role that may connect."""
    role = limited_role(postgres, empty_database_url)
    yield role
    drop(role)


def limited_role(server: PostgresServer, url: str) -> Role:
    """Create a role in a database where ``PUBLIC`` may do nothing."""
    database = url.rpartition("/")[2]
    role = Role(f"limited_{database}", database, server)
    server.execute(
        f"CREATE ROLE {role.name} LOGIN PASSWORD '{PASSWORD}'; "
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC; "
        f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role.name}; "
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        database,
    )
    return role


def drop(role: Role) -> None:
    role.end_sessions()
    role.server.execute(f"DROP OWNED BY {role.name} CASCADE; DROP ROLE {role.name}", role.database)


def refused(url: str) -> str:
    """Return what Alembic says when it refuses, which is one line."""
    with pytest.raises(subprocess.CalledProcessError) as failure:
        alembic(url, "upgrade", "head")
    (line,) = [
        each for each in str(failure.value.stderr).splitlines() if not each.startswith("INFO")
    ] or [failure.value.stdout]
    return str(line)


@pytest.mark.parametrize("settings", [{}, HOSTILE], ids=["plain", "hostile"])
async def test_the_named_rights_are_enough(
    owner: Role, installation: Installation, settings: dict[str, str]
) -> None:
    owner.limit(settings)
    alembic(owner.url, "upgrade", "head")
    installation.change(DATABASE_URL=owner.url)
    findings = await installation.run_checks(database.CHECK)
    assert (failed(findings), warned(findings)) == ([], [])
    await follow(owner.url)
    alembic(owner.url, "downgrade", "base")


async def follow(url: str) -> None:
    """Write a follower with an address beyond ASCII, and see the member."""
    connection = await connect(url)
    await connection.execute(
        "INSERT INTO public.followers (seller_id, email, created_at, confirmed_at) "
        "VALUES (1, ' Jürgen@Bücher.de ', now(), now()), (1, 'A.b@x.co', now(), now())"
    )
    emails = await connection.fetch("SELECT email FROM audience_members ORDER BY email")
    await connection.close()
    assert [row["email"] for row in emails] == ["a.b@x.co", "jürgen@bücher.de"]


async def test_a_missing_right_is_named_by_alembic_and_doctor(
    stranger: Role, installation: Installation
) -> None:
    sentence = "The role lacks USAGE, CREATE on schema public"
    assert sentence in refused(stranger.url)
    installation.change(DATABASE_URL=stranger.url)
    findings = await installation.run_checks(database.CHECK)
    assert failed(findings) == ["database.migrations"]
    assert sentence in found(findings, "database.migrations").detail


def test_alembic_answers_a_bad_address_in_a_sentence(stranger: Role) -> None:
    assert "'pgbouncer'" in refused(f"{stranger.url}?pgbouncer=true")
    assert "refuses the login" in refused(stranger.url.replace(PASSWORD, "another"))
    assert "cannot be reached" in refused("postgresql://127.0.0.1:9/nowhere")


async def test_the_printed_sql_needs_no_search_path(owner: Role) -> None:
    owner.limit(HOSTILE)
    printed = alembic(owner.url, "upgrade", "head", "--sql").stdout
    owner.server._run("psql", "-Xqv", "ON_ERROR_STOP=1", owner.url, "-c", printed)
    await follow(owner.url)
