"""PostgreSQL: away, strange, read-only, unmigrated, without rights, slowed down."""

from collections.abc import Iterator

import pytest

from app.database import Connection, connect
from app.doctor import database, replica, vacuum
from app.doctor.findings import Status
from app.doctor.schema import compare
from app.doctor.vacuum import Patience, visibility
from devstack.postgres import PostgresServer
from devstack.sandbox import Sandbox
from tests.doctor.patient import Patient, failed, found, warned
from tests.waiting import until


@pytest.fixture
async def connection(patient: Patient) -> Connection:
    """A connection to the patient's database."""
    return await connect(patient.setting("DATABASE_URL"))


async def test_a_wrong_password_is_no_outage(patient: Patient, postgres: PostgresServer) -> None:
    url = patient.setting("DATABASE_URL").replace(postgres.password, "hush-hush")
    patient.change(DATABASE_URL=url)
    findings = await patient.examine(database.CHECK)
    assert failed(findings) == ["database"]
    assert "refuses the login" in found(findings, "database").detail


async def test_a_database_that_is_not_there_is_named_so(
    patient: Patient, postgres: PostgresServer
) -> None:
    patient.change(DATABASE_URL=postgres.url("nobody_made_it"))
    findings = await patient.examine(database.CHECK)
    assert failed(findings) == ["database"]
    assert "does not exist" in found(findings, "database").detail


async def test_a_schema_that_is_missing_wants_a_migration(
    patient: Patient, empty_database_url: str
) -> None:
    patient.change(DATABASE_URL=empty_database_url)
    findings = await patient.examine()
    assert failed(findings) == ["database.migrations"]
    assert found(findings, "database.migrations").advice == "run: alembic upgrade head"


async def test_a_schema_older_than_the_code_wants_a_migration(
    patient: Patient, connection: Connection
) -> None:
    await connection.execute("UPDATE alembic_version SET version_num = '0001'")
    await connection.close()
    assert failed(await patient.examine(database.CHECK)) == ["database.migrations"]


def test_a_schema_newer_than_the_code_is_an_upgrade_under_way() -> None:
    assert compare({"9999"}).status is Status.WARNING


@pytest.fixture
def reader_url(patient: Patient, postgres: PostgresServer) -> Iterator[str]:
    """The database's address for a role that may read everything and write nothing."""
    name = patient.setting("DATABASE_URL").rpartition("/")[2]
    role = f"reader_{name}"
    postgres.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'hush-hush'; "
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        name,
    )
    yield postgres.url(name).replace(f"postgres:{postgres.password}", f"{role}:hush-hush")
    postgres.execute(f"DROP OWNED BY {role}; DROP ROLE {role}", name)


async def test_a_role_that_may_only_read_lacks_rights_by_name(
    patient: Patient, reader_url: str
) -> None:
    patient.change(DATABASE_URL=reader_url)
    findings = await patient.examine()
    assert failed(findings) == ["database.privileges"]
    detail = found(findings, "database.privileges").detail
    assert "INSERT, UPDATE, DELETE on exports" in detail
    assert "audience_members" not in detail


async def test_a_database_that_is_read_only_cannot_be_the_primary(
    patient: Patient, postgres: PostgresServer
) -> None:
    name = patient.setting("DATABASE_URL").rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    findings = await patient.examine(database.CHECK)
    assert failed(findings) == ["database"]
    assert "read-only" in found(findings, "database").detail


async def test_disabled_triggers_mean_drift(patient: Patient, connection: Connection) -> None:
    await connection.execute("ALTER TABLE purchases DISABLE TRIGGER USER")
    await connection.close()
    findings = await patient.examine(database.CHECK)
    assert failed(findings) == ["database.triggers"]
    assert "purchases" in found(findings, "database.triggers").detail


async def test_a_second_database_need_not_be_a_standby(patient: Patient) -> None:
    patient.change(AUDIENCE_DATABASE_URL=patient.setting("DATABASE_URL"))
    findings = await patient.examine(replica.CHECK)
    assert (failed(findings), warned(findings)) == ([], [])
    assert "no standby" in found(findings, "replica").detail


async def test_a_replica_without_members_is_of_no_use(
    patient: Patient, empty_database_url: str
) -> None:
    patient.change(AUDIENCE_DATABASE_URL=empty_database_url)
    findings = await patient.examine()
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
    assert visibility(pages, visible).status is status


async def test_the_map_is_read_as_vacuum_left_it(patient: Patient, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO audience_members (seller_id, email, follower_since) "
        "SELECT 1, number || '@x.co', now() FROM generate_series(1, 1000) AS number"
    )
    before = found(await patient.examine(database.CHECK), "database.visibility")
    await connection.execute("VACUUM audience_members")
    after = found(await patient.examine(database.CHECK), "database.visibility")
    await connection.close()
    assert before.detail.startswith("0%")
    assert after.detail.startswith("100%")


async def test_who_holds_vacuum_back_is_counted(patient: Patient, connection: Connection) -> None:
    other = await connect(patient.setting("DATABASE_URL"))
    held = other.transaction(isolation="repeatable_read")
    await held.start()
    await other.fetchval("SELECT count(*) FROM exports")
    impatient = await vacuum.examine(connection, Patience(snapshot_s=0, idle_s=0))
    patient_now = await vacuum.examine(connection)
    await held.rollback()
    await other.close()
    await connection.close()
    assert warned(impatient) == ["database.snapshots", "database.idle"]
    assert warned(patient_now) == []


async def test_a_slot_that_nobody_reads_is_named(patient: Patient, connection: Connection) -> None:
    slot = f"doctor_{patient.setting('DATABASE_URL').rpartition('/')[2]}"
    await connection.execute(f"SELECT pg_create_physical_replication_slot('{slot}', true)")
    try:
        await connection.execute("INSERT INTO followers VALUES (1, 1, 'a@x.co', now())")
        impatient = await vacuum.examine(connection, Patience(slot_bytes=0))
        patient_now = await vacuum.examine(connection)
    finally:
        await connection.execute(f"SELECT pg_drop_replication_slot('{slot}')")
        await connection.close()
    assert slot in found(impatient, "database.slots").detail
    assert warned(patient_now) == []


@pytest.mark.parametrize(("lag_s", "status"), [(0, Status.OK), (31, Status.WARNING)])
def test_a_standby_that_is_behind_is_warned_of(lag_s: float, status: Status) -> None:
    assert replica.judge("18.1", True, False, lag_s, wait_s=30).status is status


async def test_a_standby_is_told_from_a_primary_and_from_one_cut_off(
    patient: Patient, postgres: PostgresServer, sandbox: Sandbox
) -> None:
    name = patient.setting("DATABASE_URL").rpartition("/")[2]
    standby = PostgresServer(sandbox, name="doctors_standby", primary=postgres)
    standby.start()
    try:
        patient.change(AUDIENCE_DATABASE_URL=standby.url(name))
        await until(lambda: _replica_says(patient, "streaming standby"), within_s=30)
        standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
        standby.execute("SELECT pg_reload_conf()")
        await until(lambda: _replica_says(patient, "receives nothing"), within_s=30)
        patient.change(AUDIENCE_DATABASE_URL="", DATABASE_URL=standby.url(name))
        assert failed(await patient.examine(database.CHECK)) == ["database"]
    finally:
        standby.stop()


async def _replica_says(patient: Patient, words: str) -> bool:
    (finding,) = await patient.examine(replica.CHECK)
    return words in finding.detail
