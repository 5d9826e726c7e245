"""PostgreSQL: away, strange, read-only, unmigrated, without rights, slowed down."""

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from app.database.connections import Connection, connect, session_limits
from app.database.database import DatabaseConnection
from app.doctor import database, replica, vacuum
from app.doctor.database_errors import diagnose
from app.doctor.findings import Status
from app.doctor.schema import compare
from app.doctor.vacuum import VacuumThresholds, evaluate_visibility
from devstack.certificates import issue
from devstack.postgres import PostgresServer
from devstack.sandbox import Sandbox
from tests.doctor.installation import Installation, failed, found, warned
from tests.polling import until
from tests.roles import created_role
from tests.security.test_tls import at, tls_before, verified


@pytest.fixture
async def connection(installation: Installation) -> Connection:
    """A connection to the installation's database."""
    return await connect(installation.setting("DATABASE_URL"))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (asyncpg.InsufficientPrivilegeError("no"), "GRANT"),
        (asyncpg.UndefinedTableError("none"), "alembic upgrade head"),
        (asyncpg.UndefinedFunctionError("none"), "alembic upgrade head"),
    ],
    ids=["a right", "a table", "a function"],
)
def test_a_missing_right_and_a_schema_that_is_too_old_are_told_apart(
    error: asyncpg.PostgresError, advice: str
) -> None:
    diagnosis = diagnose(error)
    assert diagnosis is not None
    assert advice in diagnosis[1]


async def test_a_wrong_password_is_no_outage(
    installation: Installation, postgres: PostgresServer
) -> None:
    url = installation.setting("DATABASE_URL").replace(postgres.password, "hush-hush")
    installation.change(DATABASE_URL=url)
    findings = await installation.run_checks(database.CHECK)
    assert failed(findings) == ["database"]
    assert "refuses the login" in found(findings, "database").detail


async def test_a_database_that_is_not_there_is_named_so(
    installation: Installation, postgres: PostgresServer
) -> None:
    installation.change(DATABASE_URL=postgres.url("nobody_made_it"))
    findings = await installation.run_checks(database.CHECK)
    assert failed(findings) == ["database"]
    assert "does not exist" in found(findings, "database").detail


async def detail_and_advice(installation: Installation, url: str) -> tuple[str, str]:
    """Return what the doctor says of an address that fails."""
    installation.change(DATABASE_URL=url)
    findings = await installation.run_checks(database.CHECK)
    assert failed(findings) == ["database"]
    return found(findings, "database").detail, found(findings, "database").advice


async def test_a_server_without_tls_is_named(installation: Installation) -> None:
    url = f"{installation.setting('DATABASE_URL')}?sslmode=require"
    detail, advice = await detail_and_advice(installation, url)
    assert "does not speak TLS" in detail
    assert "sslmode" in advice


async def test_a_certificate_that_nobody_trusts_is_named(
    installation: Installation, tmp_path: Path
) -> None:
    here, other = issue(tmp_path), issue(tmp_path_beside(tmp_path))
    url = installation.setting("DATABASE_URL")
    async with tls_before(url, here, asks_first=True) as port:
        detail, advice = await detail_and_advice(
            installation, at(url, port, verified(other.authority))
        )
    assert "certificate verify failed" in detail
    assert "sslrootcert" in advice
    detail, _ = await detail_and_advice(installation, at(url, 9, verified(Path("/nowhere"))))
    assert "certificate file or socket" in detail


def tmp_path_beside(folder: Path) -> Path:
    beside = folder / "other"
    beside.mkdir()
    return beside


async def test_a_host_without_an_address_is_named(installation: Installation) -> None:
    detail, _ = await detail_and_advice(installation, "postgresql://nobody.invalid/shop")
    assert "host name has no address" in detail


async def test_a_time_limit_is_named(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = session_limits(0.001, None) | {"statement_timeout": "1ms"}
    monkeypatch.setattr("app.database.connections.session_limits", lambda *_: limited)
    monkeypatch.setattr(database, "STATE", f"{database.STATE} WHERE pg_sleep(1) IS NOT NULL")
    detail, advice = await detail_and_advice(installation, installation.setting("DATABASE_URL"))
    assert "time limit" in detail
    assert "statement_timeout" in advice


async def test_a_full_server_is_named(installation: Installation, postgres: PostgresServer) -> None:
    url = installation.setting("DATABASE_URL")
    with created_role(postgres, url) as role:
        postgres.execute(f"ALTER ROLE {role.name} CONNECTION LIMIT 0")
        detail, advice = await detail_and_advice(installation, role.url)
    assert "no connection left" in detail
    assert "max_connections" in advice


async def test_a_demand_that_nobody_verifies_is_warned_of(installation: Installation) -> None:
    url = f"{installation.setting('DATABASE_URL')}?require_auth=scram-sha-256"
    installation.change(DATABASE_URL=url)
    findings = await installation.run_checks(database.CHECK)
    assert (failed(findings), warned(findings)) == ([], ["database.address"])


async def test_a_server_that_does_not_know_our_settings_is_too_old(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = session_limits(30, None) | {"a_setting_of_version_19": "on"}
    monkeypatch.setattr("app.database.connections.session_limits", lambda *_: newer)
    findings = await installation.run_checks(database.CHECK)
    assert failed(findings) == ["database"]
    assert "older than 18" in found(findings, "database").detail


async def test_a_schema_that_is_missing_wants_a_migration(
    installation: Installation, empty_database_url: str
) -> None:
    installation.change(DATABASE_URL=empty_database_url)
    findings = await installation.run_checks()
    assert failed(findings) == ["database.migrations"]
    assert found(findings, "database.migrations").advice == "run: alembic upgrade head"


async def test_a_schema_older_than_the_code_wants_a_migration(
    installation: Installation, connection: Connection
) -> None:
    await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    await connection.close()
    assert failed(await installation.run_checks(database.CHECK)) == ["database.migrations"]


def test_a_schema_newer_than_the_code_is_an_upgrade_under_way() -> None:
    assert compare({"9999"}).status is Status.WARNING


@pytest.fixture
def reader_url(installation: Installation, postgres: PostgresServer) -> Iterator[str]:
    """The database's address for a role that may read everything and write nothing."""
    name = installation.setting("DATABASE_URL").rpartition("/")[2]
    role = f"reader_{name}"
    postgres.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'hush-hush'; "
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        name,
    )
    yield postgres.url(name).replace(f"postgres:{postgres.password}", f"{role}:hush-hush")
    postgres.execute(f"DROP OWNED BY {role}; DROP ROLE {role}", name)


async def test_a_role_that_may_only_read_lacks_rights_by_name(
    installation: Installation, reader_url: str
) -> None:
    installation.change(DATABASE_URL=reader_url)
    findings = await installation.run_checks()
    assert failed(findings) == ["database.privileges"]
    detail = found(findings, "database.privileges").detail
    assert "INSERT, UPDATE, DELETE on exports" in detail
    assert "audience_members" not in detail


async def test_a_database_that_is_read_only_cannot_be_the_primary(
    installation: Installation, postgres: PostgresServer
) -> None:
    name = installation.setting("DATABASE_URL").rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    findings = await installation.run_checks(database.CHECK)
    assert failed(findings) == ["database"]
    assert "read-only" in found(findings, "database").detail


async def test_disabled_triggers_mean_drift(
    installation: Installation, connection: Connection
) -> None:
    await connection.execute("ALTER TABLE purchases DISABLE TRIGGER USER")
    await connection.close()
    findings = await installation.run_checks(database.CHECK)
    assert failed(findings) == ["database.triggers"]
    assert "purchases" in found(findings, "database.triggers").detail


async def test_a_second_database_need_not_be_a_standby(installation: Installation) -> None:
    installation.change(AUDIENCE_DATABASE_URL=installation.setting("DATABASE_URL"))
    findings = await installation.run_checks(replica.CHECK)
    assert (failed(findings), warned(findings)) == ([], [])
    assert "not a standby" in found(findings, "replica").detail


async def test_a_replica_without_members_is_of_no_use(
    installation: Installation, empty_database_url: str
) -> None:
    installation.change(AUDIENCE_DATABASE_URL=empty_database_url)
    findings = await installation.run_checks()
    assert failed(findings) == ["replica"]
    assert "audience_members" in found(findings, "replica").detail


@pytest.mark.parametrize(
    ("pages", "visible", "status"),
    [
        (0, 0, Status.OK),
        (999, 0, Status.OK),
        (1000, 899, Status.WARNING),
        (1000, 900, Status.OK),
    ],
)
def test_a_stale_map_of_a_large_table_is_warned_of(
    pages: int, visible: int, status: Status
) -> None:
    assert evaluate_visibility(pages, visible).status is status


async def test_the_map_is_read_as_vacuum_left_it(
    installation: Installation, connection: Connection
) -> None:
    await connection.execute(
        "INSERT INTO audience_members (seller_id, email, follower_since) "
        "SELECT 1, number || '@x.co', now() FROM generate_series(1, 1000) AS number"
    )
    before = found(await installation.run_checks(database.CHECK), "database.visibility")
    await connection.execute("VACUUM audience_members")
    after = found(await installation.run_checks(database.CHECK), "database.visibility")
    await connection.close()
    assert before.detail.startswith("0%")
    assert after.detail.startswith("100%")


async def test_who_holds_vacuum_back_is_counted(
    installation: Installation, connection: Connection
) -> None:
    other = await connect(installation.setting("DATABASE_URL"))
    held = other.transaction(isolation="repeatable_read")
    await held.start()
    await other.fetchval("SELECT count(*) FROM exports")
    strict = await vacuum.check(
        DatabaseConnection(connection), VacuumThresholds(snapshot_s=0, idle_s=0)
    )
    default = await vacuum.check(DatabaseConnection(connection))
    await held.rollback()
    await other.close()
    await connection.close()
    assert warned(strict) == ["database.snapshots", "database.idle"]
    assert warned(default) == []


async def test_a_slot_that_nobody_reads_is_named(
    installation: Installation, connection: Connection
) -> None:
    slot = f"doctor_{installation.setting('DATABASE_URL').rpartition('/')[2]}"
    await connection.execute(f"SELECT pg_create_physical_replication_slot('{slot}', true)")
    try:
        await connection.execute("INSERT INTO followers VALUES (1, 1, 'a@x.co', now())")
        strict = await vacuum.check(DatabaseConnection(connection), VacuumThresholds(slot_bytes=0))
        default = await vacuum.check(DatabaseConnection(connection))
    finally:
        await connection.execute(f"SELECT pg_drop_replication_slot('{slot}')")
        await connection.close()
    assert slot in found(strict, "database.slots").detail
    assert warned(default) == []


@pytest.mark.parametrize(("lag_s", "status"), [(0, Status.OK), (31, Status.WARNING)])
def test_a_standby_that_is_behind_is_warned_of(lag_s: float, status: Status) -> None:
    assert replica.evaluate("18.1", True, False, lag_s, wait_s=30).status is status


async def test_a_standby_is_told_from_a_primary_and_from_one_cut_off(
    installation: Installation, postgres: PostgresServer, sandbox: Sandbox
) -> None:
    name = installation.setting("DATABASE_URL").rpartition("/")[2]
    standby = PostgresServer(sandbox, name="doctors_standby", primary=postgres)
    standby.start()
    try:
        installation.change(AUDIENCE_DATABASE_URL=standby.url(name))
        await until(lambda: _replica_says(installation, "streaming standby"), within_s=30)
        standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
        standby.execute("SELECT pg_reload_conf()")
        await until(lambda: _replica_says(installation, "receives nothing"), within_s=30)
        installation.change(AUDIENCE_DATABASE_URL="", DATABASE_URL=standby.url(name))
        assert failed(await installation.run_checks(database.CHECK)) == ["database"]
    finally:
        standby.stop()


async def _replica_says(installation: Installation, words: str) -> bool:
    (finding,) = await installation.run_checks(replica.CHECK)
    return words in finding.detail
