"""Three PostgreSQL servers with Citus: a coordinator and two nodes with the shards.

Citus is in no wheel: the environment variable ``CITUS_BIN`` names the folder of programs of a
PostgreSQL 18 that has it.
"""

import os
from pathlib import Path

from devstack.postgres import PostgresServer
from devstack.sandbox import Sandbox, ServerFailed

NODES = 3

SETTINGS = {
    "shared_preload_libraries": "citus",
    "citus.node_conninfo": "sslmode=prefer",
    "max_prepared_transactions": "400",
}

# Node 0 is every node.
EXTENSION = """
    CREATE EXTENSION citus;
    INSERT INTO pg_dist_authinfo (nodeid, rolename, authinfo)
    VALUES (0, 'postgres', 'password={password}')
"""

ABSENT = "CITUS_BIN names no programs of a PostgreSQL that has Citus"


def programs() -> Path | None:
    """Return the folder that ``CITUS_BIN`` names; ``None`` where no PostgreSQL with Citus is."""
    named = os.environ.get("CITUS_BIN")
    if not named or not Path(named, "postgres").exists():
        return None
    libraries = Path(named).parent / "lib"
    return Path(named) if any(libraries.rglob("citus.so")) else None


class CitusCluster:
    """The servers; ``coordinator`` is the first, and holds no shards.

    Raises:
        ServerFailed: ``CITUS_BIN`` is not set, or names another PostgreSQL.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        folder = programs()
        if folder is None:
            raise ServerFailed(ABSENT)
        self.servers = [
            PostgresServer(sandbox, name=f"citus-{number}", settings=SETTINGS, programs=folder)
            for number in range(NODES)
        ]
        self.coordinator = self.servers[0]

    def start(self) -> None:
        """Start the servers, and let each log in at the others."""
        for server in self.servers:
            server.start()
        for server in self.servers[1:]:
            server.execute(f"ALTER ROLE postgres PASSWORD '{self.coordinator.password}'")
            server.password = self.coordinator.password

    def create_database(self, name: str) -> str:
        """Create a database with the extension on every node; return the coordinator's URL."""
        for server in self.servers:
            server.create_database(name)
            server.execute(EXTENSION.format(password=self.coordinator.password), name)
        nodes = [f"SELECT citus_set_coordinator_host('127.0.0.1', {self.coordinator.port})"]
        nodes += [f"SELECT citus_add_node('127.0.0.1', {node.port})" for node in self.servers[1:]]
        self.coordinator.execute("; ".join(nodes), name)
        return self.coordinator.url(name)
