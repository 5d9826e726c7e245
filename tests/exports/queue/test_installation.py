"""The identity of an installation: that of its database, which a copy does not share."""

from app.database.connections import create_engine
from app.database.database import Database
from app.errors import QueueUnavailable
from app.exports.queue.installation import register_installation
from devstack.postgres import PostgresServer
from tests.fakes import MemoryQueue, fails
from tests.roles import created_role


async def test_an_installation_is_registered_under_one_name(database: Database) -> None:
    queue = MemoryQueue()
    for _ in range(2):
        await register_installation(database, queue)
    (name,) = queue.installations
    assert len(name) == 16


async def test_redis_may_be_unavailable(database: Database) -> None:
    queue = MemoryQueue()
    queue.before = fails("register", QueueUnavailable("away"))
    await register_installation(database, queue)
    assert queue.installations == set()


async def test_an_ordinary_role_may_read_the_identity(
    postgres: PostgresServer, database_url: str
) -> None:
    queue = MemoryQueue()
    with created_role(postgres, database_url) as role:
        database = Database(create_engine(role.url, pool_size=1))
        await register_installation(database, queue)
        await database.close()
    assert len(queue.installations) == 1
