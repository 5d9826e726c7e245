"""A database role for one test, as an operator creates it for the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from devstack.postgres import PostgresServer

PASSWORD = "hush-hush"


@dataclass(frozen=True)
class Role:
    """A role that owns nothing of a database and may use all of it."""

    name: str
    database: str
    server: PostgresServer

    @property
    def url(self) -> str:
        """The database's address for this role."""
        own = f"postgres:{self.server.password}"
        return self.server.url(self.database).replace(own, f"{self.name}:{PASSWORD}")

    def change_password(self, password: str) -> None:
        """Change the password, and end the sessions that the old one opened."""
        self.server.execute(f"ALTER ROLE {self.name} PASSWORD '{password}'")
        self.end_sessions()

    def end_sessions(self) -> None:
        """End all sessions, as a server does that is restarted."""
        self.server.execute(
            f"SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
            f"WHERE usename = '{self.name}'"
        )

    def limit(self, settings: dict[str, str]) -> None:
        """Change the role's settings for new sessions."""
        for name, value in settings.items():
            self.server.execute(f"ALTER ROLE {self.name} SET {name} = '{value}'")

    def revoke(self, *tables: str) -> None:
        """Revoke every right on some tables."""
        self.server.execute(f"REVOKE ALL ON {', '.join(tables)} FROM {self.name}", self.database)

    def grant(self, *tables: str) -> None:
        """Grant the rights again."""
        self.server.execute(f"GRANT ALL ON {', '.join(tables)} TO {self.name}", self.database)


def create_role(server: PostgresServer, database_url: str) -> Role:
    """Create a role for the database at an address, whose tables are there.

    It may use those of later migrations too, as docs/deploy.md says.
    """
    database = database_url.rpartition("/")[2]
    role = Role(f"service_{database}", database, server)
    server.execute(
        f"CREATE ROLE {role.name} LOGIN PASSWORD '{PASSWORD}'; "
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role.name}; "
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role.name}; "
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {role.name}",
        database,
    )
    return role


@contextmanager
def created_role(server: PostgresServer, database_url: str) -> Iterator[Role]:
    """Yield such a role, and drop it at the end."""
    role = create_role(server, database_url)
    try:
        yield role
    finally:
        role.end_sessions()
        server.execute(f"DROP OWNED BY {role.name}; DROP ROLE {role.name}", role.database)
