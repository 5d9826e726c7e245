"""A dump, restored as docs/deploy.md says, keeps the audience by itself."""

from app.audience.drift import verify
from app.database.connections import connect
from app.database.database import DatabaseConnection
from devstack.postgres import PostgresServer
from tests.audience.storefront import Storefront
from tests.migrations.schema import described


async def test_a_restored_dump_has_every_trigger_as_it_was(
    postgres: PostgresServer, database_url: str, empty_database_url: str
) -> None:
    file = postgres._folder / "dump"
    before = await connect(database_url)
    await Storefront(before).follow("ann@x.co")
    await before.close()
    postgres._run("pg_dump", "--format=custom", f"--file={file}", database_url)
    postgres._run("pg_restore", "--exit-on-error", f"--dbname={empty_database_url}", str(file))
    assert await described(empty_database_url) == await described(database_url)
    after = await connect(empty_database_url)
    storefront = Storefront(after)
    await after.execute("SET session_replication_role = replica")
    await storefront.follow("replicated@x.co")
    await after.execute("SET session_replication_role = origin")
    await storefront.buy("bob@x.co")
    assert await storefront.addresses() == ["ann@x.co", "bob@x.co", "replicated@x.co"]
    assert not await verify(DatabaseConnection(after))
    await after.close()
